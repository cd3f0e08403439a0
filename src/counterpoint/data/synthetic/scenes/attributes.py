"""Scenes as rows of a table: numbers and categories of what words speak of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from ....raw import Table
from .pixels.backgrounds import BACKGROUNDS
from .scene import COLOURS, SIZES, Scene

Cell = float | str | None
"""A number, a category, or nothing."""


def _mean(scene: Scene, of: str) -> float | None:
    """Return the mean of a number of the things that words speak of, in thousandths of the picture's side."""
    return float(np.mean([getattr(thing, of) for thing in scene.subjects])) if scene.subjects else None


ATTRIBUTES: Mapping[str, tuple[tuple[str, ...], Callable[[Scene], Cell]]] = {
    "things": ((), lambda scene: float(len(scene.subjects))),
    "side": ((), lambda scene: _mean(scene, "side")),
    "x": ((), lambda scene: _mean(scene, "x")),
    "y": ((), lambda scene: _mean(scene, "y")),
    "size": (SIZES, lambda scene: scene.subjects[0].size if scene.subjects else None),
    "colour": (COLOURS, lambda scene: scene.subjects[0].colour if scene.subjects else None),
    "background": (tuple(BACKGROUNDS), lambda scene: scene.background),
}
"""Attributes of a scene by name: the words of its categories, none of a number, and its value; categories are those of
the first thing."""


def table(scenes: Sequence[Scene | None], names: Sequence[str]) -> Table:
    """Return a row of attributes for each scene, empty for None.

    >>> table([Scene(0, (), background="white"), None], ("things", "background")).rows()
    [{'things': '0', 'background': 'white'}, {'things': '', 'background': ''}]
    """
    columns = []
    for name in names:
        words, of = ATTRIBUTES[name]
        values = [None if scene is None else of(scene) for scene in scenes]
        columns.append(
            [np.nan if v is None else float(words.index(v) if isinstance(v, str) else v) for v in values]
        )
    cells = torch.tensor(columns, dtype=torch.float32).T.reshape(len(scenes), len(names))
    return Table(cells, tuple(names), tuple(ATTRIBUTES[name][0] for name in names))
