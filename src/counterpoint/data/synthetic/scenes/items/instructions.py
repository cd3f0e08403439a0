"""Scenes with what is to be written about them: in a few words, in detail, as a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np

from ....base import Rows
from ....items import Instructions
from ....rng import Rng
from ..config import SceneConfig
from ..rows import SceneRows
from ..scene import Scene
from ..words.captions import long, short, tags
from .item_rows import RowPictures, ask_rows

INSTRUCTIONS: Mapping[str, str] = {
    "short": "Say in a few words what the picture shows.",
    "long": "Describe the picture in detail.",
    "list": "List what is in the picture.",
}
"""Instructions, by the form of the reply that each asks for."""


def _instruction(kind: str, scene: Scene, draws: Rng, config: SceneConfig) -> tuple[str, str]:
    if kind == "short":
        reply = short(scene).text
    elif kind == "long":
        reply = " ".join(sentence.text for sentence in long(scene))
    else:
        reply = ", ".join(tags(scene))
    return INSTRUCTIONS[kind], reply


@final
class SceneInstructions(RowPictures, Instructions):
    """Scenes to be described in a few words, in detail, or by key words."""

    def __init__(self, world: SceneRows, rows: Rows, kinds: Sequence[str]) -> None:
        items = list(ask_rows(world, rows, kinds, _instruction))
        self.world, self.rows = world, np.array([row for row, _, _ in items], np.int64)
        self.ids = world.ids[self.rows]
        self.kinds = [kind for _, kind, _ in items]
        self.texts = [text for _, _, (text, _) in items]
        self.replies = [reply for _, _, (_, reply) in items]
        self.attribution = world.attribution
