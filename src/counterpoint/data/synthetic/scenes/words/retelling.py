"""Captions of several sentences in words of their own, of which some name what is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....rng import Rng
from ..scene import Scene, Thing
from .captions import short
from .paragraphs import long

_SIDE, _PLACES = 290, (200, 500, 800)  # of a thing that is not there


def retold(
    scene: Scene, draws: Rng, absent: Sequence[str] = (), hallucinated: float = 0.0, language: str = "en"
) -> str:
    """Write a caption of several sentences; the first says all that a short caption does.

    Args:
        scene: to be described.
        draws: choose the words, and what is wrong.
        absent: concepts that are not in the scene.
        hallucinated: probability that a sentence after the first gives way to one that names one of them.
        language: of the caption.

    >>> cat = Thing("cat", "red", "small", 200, 300, 500)
    >>> retold(Scene(0, (cat,)), Rng(0, 1), ["dog"], 1.0)
    'A little red cat. The dog is at the top right and faces left. The dog is on the left and faces left.'
    """
    whole = short(scene, language, draws).text
    _, *later = (sentence.text for sentence in long(scene, language, draws))
    for index in range(len(later)):
        if absent and draws.happens(f"hallucinated {index}", hallucinated):
            x, y = (draws.choice(f"{axis} {index}", _PLACES) for axis in ("across", "down"))
            thing = Thing(draws.choice(f"absent {index}", absent), None, "medium", _SIDE, x, y)
            later[index] = long(replace(scene, things=(thing,), relations=()), language)[1].text
    return " ".join([f"{whole[0].upper()}{whole[1:]}.", *later])
