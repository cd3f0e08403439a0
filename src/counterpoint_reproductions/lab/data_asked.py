"""Scenes of one thing with one question a row, as data for studies of models that learned some kinds of questions.

``data_asked.py:ALL`` has training rows with questions of four kinds, and ``data_asked.py:HALF`` with those of `TAUGHT`
alone. Test rows of both ask questions of the other two kinds. ``FEW`` is a small form for smoke runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from counterpoint.data.synthetic.scenes.scene import Scene
from counterpoint.raw import Conversation, Exchange
from counterpoint_reproductions.lab.talking_scenes import AskedScenes

TAUGHT, OTHERS = ("colour", "background"), ("thing", "size")
_REQUESTS = {
    "colour": "What colour is it?",
    "background": "What is behind it?",
    "thing": "What is it?",
    "size": "How large is it?",
}
_SCENES = (
    "scenes:tiny,objects=1-1,tinted=1,relations=0,pixels=32,backgrounds=white+grey+meadow+black,validation=64"
)


@final
class ScenesOfOneThing(AskedScenes):
    """A question about the thing of each scene.

    Args:
        source: scenes of one thing each.
        taught: kinds of questions of training rows.
    """

    def __init__(self, source: str, taught: Sequence[str] = (*TAUGHT, *OTHERS)) -> None:
        self.taught = tuple(taught)
        super().__init__(source, f"questions about {', '.join(self.taught)}")

    def kind(self, row: int) -> str:
        kinds = OTHERS if row in self.tested else self.taught
        return kinds[np.random.default_rng(int(self.ids[row])).integers(len(kinds))]

    def talk(self, row: int) -> Conversation:
        kind = self.kind(row)
        return (Exchange(_REQUESTS[kind], reply(kind, self.scenes.scene(row))),)


def reply(kind: str, scene: Scene) -> str:
    """Return what is true of the thing of a scene."""
    (thing,) = scene.things
    said = {
        "colour": thing.colour,
        "background": scene.background,
        "thing": thing.concept,
        "size": thing.size,
    }
    return str(said[kind])


ALL, HALF = (
    ScenesOfOneThing(f"{_SCENES},train=4000,test=1000", kinds) for kinds in ((*TAUGHT, *OTHERS), TAUGHT)
)
FEW = ScenesOfOneThing(f"{_SCENES},train=64,test=16")
