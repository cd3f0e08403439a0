"""Scenes of a large and a small thing, with choices between captions that differ in the small one, as data for studies.

A study names them as it names any data of a file: ``unequal.py:UNEQUAL``. Captions name the large thing first, so that
a model can tell most pictures apart without the small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import final

import numpy as np

from counterpoint.data.base import Rows, SomeItems
from counterpoint.data.items import Choices
from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.config import SceneConfig
from counterpoint.data.synthetic.scenes.items.changes import changes
from counterpoint.data.synthetic.scenes.items.edits import Edit, is_minimal
from counterpoint.data.synthetic.scenes.items.item_rows import RowPictures, ask_rows
from counterpoint.data.synthetic.scenes.rows import SceneRows
from counterpoint.data.synthetic.scenes.scene import Scene
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint_reproductions.lab.quick import smaller

WORLD = (
    "scenes:basic,objects=2-2,concepts=cat+fish+apple+banana+car+key+hat+tree,tinted=1,sizes=small+large,relations=0,"
    "train=2000,validation=64,test=1000,pixels=64"
)
KINDS = ("replace object", "replace colour")
_FAR = 10_000_000
"""The distance between the numbers of the scenes that are tried for a row."""


@final
class Unequal(Scenes):  # type: ignore[misc] # final, and other scenes are drawn here
    """Scenes of a large and a small thing; see the module."""

    def make(self, config: SceneConfig, index: int, stream: str) -> Scene:
        scenes = (super(Unequal, self).make(config, index + number * _FAR, stream) for number in count())
        scene = next(scene for scene in scenes if len({thing.size for thing in scene.things}) == 2)
        return replace(scene, index=index, things=tuple(sorted(scene.things, key=lambda it: -it.side)))

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        if form is Choices:
            return SmallThings(self, rows)  # type: ignore[return-value] # it is of that form
        return super().items(form, rows, kinds)


@final
class SmallThings(RowPictures, Choices):
    """A scene's caption beside one in which the small thing is another one or has another colour."""

    def __init__(self, world: SceneRows, rows: Rows) -> None:
        items = list(ask_rows(world, rows, KINDS, _of_small))
        self.world, self.rows = world, np.array([row for row, _, _ in items], np.int64)
        self.ids = world.ids[self.rows]
        self.kinds = [kind for _, kind, _ in items]
        self.options = [options for _, _, options in items]
        self.answers = np.zeros(len(items), np.int64)
        self.attribution = world.attribution


def _of_small(kind: str, scene: Scene, draws: Rng, config: SceneConfig) -> tuple[str, str] | None:
    """Return the caption of a scene and that of an edit of its small thing, the last."""
    for change in changes(kind, scene, draws, config):  # type: ignore[arg-type] # one of `KINDS`
        edit = Edit(kind, scene, change.after, (change.old, change.new))  # type: ignore[arg-type] # as above
        if change.old == (len(scene.things) - 1,) and is_minimal(edit):
            before, after = edit.captions()
            return before.text, after.text
    return None


NAME = "scenes of a large and a small thing"
UNEQUAL = Unequal(Scenes.parse(WORLD).preset, NAME)
SMALL = Unequal(Scenes.parse(smaller(WORLD)).preset, NAME)
"""For smoke runs."""
