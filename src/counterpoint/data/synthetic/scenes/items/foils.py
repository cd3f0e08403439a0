"""Captions that are not true of a scene, as CREPE makes them for pictures: by one replaced word, or by two."""

from __future__ import annotations

from itertools import count, islice

from .....registry import unknown
from ....rng import Rng
from ..config import SceneConfig
from ..layout.compose import compose
from ..scene import Scene
from ..words.captions import short
from ..words.lexicon import lexicon
from .changes import EDITS
from .edits import edit
from .truth import true_of

FOILS = ("random", "atom", "compound")
_REPLACING = tuple(kind for kind in EDITS if kind.startswith("replace"))
_TRIES = 20


def foil(kind: str, scene: Scene, draws: Rng, config: SceneConfig) -> tuple[str, str] | None:
    """Return a scene's caption and one that is not true of it; None where there is none of this kind.

    - ``random`` is the caption of another scene, which anyone who looks can tell: the baseline.
    - ``atom`` replaces one thing, colour, size, number or relation (HN-Atom).
    - ``compound`` joins two such captions, each with another atom replaced (HN-Comp), so it is about twice as long.

    Args:
        kind: one of `FOILS`.
        scene: of which the first caption is true.
        draws: decide which foil.
        config: of the scene's world.

    Raises:
        UnknownNameError: for another kind.

    Source: Ma et al., "CREPE: Can Vision-Language Foundation Models Reason Compositionally?" (2022), arXiv 2212.07796.

    >>> from counterpoint.data.synthetic.scenes.scene import Thing
    >>> cat = Scene(0, (Thing("cat", "red", "medium", 300, 500, 500),))
    >>> foil("atom", cat, Rng(0, 0), SceneConfig(sizes="medium", concepts="cat+dog+pig"))
    ('a red cat', 'a yellow cat')
    """
    if kind not in FOILS:
        raise unknown("kind of foil", kind, FOILS)
    if kind == "random":
        others = (compose(config, draws.word("another scene"), index, "foils") for index in count())
        other = next((each for each in islice(others, _TRIES) if not true_of(each, scene)), None)
        return (short(scene).text, short(other).text) if other else None
    candidates = (
        edit(each, scene, draws, config) for each in draws.sample("foil", _REPLACING, len(_REPLACING))
    )
    edits = list(islice((each for each in candidates if each), 1 if kind == "atom" else 2))
    if kind == "atom" and edits:
        before, after = edits[0].captions()
        return before.text, after.text
    if len(edits) < 2:
        return None
    return short(scene).text, lexicon("en").conjunction.join(each.captions()[1].text for each in edits)
