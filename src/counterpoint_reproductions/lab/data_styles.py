"""Emoji in five styles, four to learn from and one to be tested in, as data for studies.

A study names the data as it names any data of a file: ``data_styles.py:STYLES``, and ``data_styles.py:FEW_STYLES`` for
smoke runs. The labels are ``subgroup`` and ``style``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int, UInt8
from torch import Tensor

from counterpoint.data.base import Rows, Splits
from counterpoint.data.labels import Classes
from counterpoint.data.pictured import PairedData
from counterpoint_reproductions.lab.data_kinds import emoji

STYLED = ("plain", "tinted", "outlined", "inverted")
"""Styles of the first artist's pictures, which are for training."""
TARGET = "other artist"
"""The style that is tested."""
TINTS = torch.tensor([[255, 96, 96], [96, 255, 96], [96, 96, 255], [255, 255, 96], [255, 96, 255]])


@final
class Styles(PairedData):
    """Every emoji of training in the four styles of `STYLED`, and emoji to test on by the other artist.

    The test sets are those of ``emoji:artist``: emoji that training has, and held-out concepts.

    Args:
        few: emoji of each split; all unless given.
    """

    name = "emoji in styles"

    def __init__(self, few: int | None = None) -> None:
        self.emoji = emoji()
        train = self.emoji.splits.train[:few]
        validation, test = (
            {name: rows[:few] for name, rows in sides.items()}
            for sides in (self.emoji.splits.validation, self.emoji.splits.test)
        )
        of_train = np.tile(train, len(STYLED))
        self._emoji_rows = np.concatenate([of_train, *validation.values(), *test.values()])
        self._styles = np.full(len(self._emoji_rows), len(STYLED))
        self._styles[: len(of_train)] = np.repeat(np.arange(len(STYLED)), len(train))
        self.ids = np.arange(len(self._emoji_rows))
        ends = np.cumsum([len(of_train), *map(len, validation.values()), *map(len, test.values())])
        parts = np.split(self.ids, ends)
        self.splits = Splits(
            parts[0],
            dict(zip(validation, parts[1:], strict=False)),
            dict(zip(test, parts[1 + len(validation) :], strict=False)),
        )
        subgroup = self.emoji.labels["subgroup"]
        self.labels = {
            "subgroup": Classes(subgroup.names, subgroup.values[self._emoji_rows]),
            "style": Classes((*STYLED, TARGET), self._styles),
        }

    def captions(self, row: int) -> Sequence[str]:
        return self.emoji.captions(int(self._emoji_rows[row]))

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        pictures, of = self.emoji.images(self._emoji_rows[rows]), self._styles[rows]
        for number, style in enumerate(STYLED):
            chosen = np.flatnonzero(of == number)
            if len(chosen):
                pictures[chosen] = styled(pictures[chosen], style, self._emoji_rows[rows][chosen])
        return pictures


def styled(
    pictures: UInt8[Tensor, "n 3 H W"], style: str, numbers: Int[np.ndarray, " n"]
) -> UInt8[Tensor, "n 3 H W"]:
    """Return pictures in a style; the tint follows from the number of an emoji.

    >>> white = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    >>> [int(styled(white, style, np.zeros(1, int)).float().mean()) for style in STYLED]
    [255, 201, 255, 0]
    """
    if style == "tinted":
        tint = TINTS[torch.from_numpy(numbers) % len(TINTS)][:, :, None, None]
        return ((pictures.long() + tint) // 2).to(torch.uint8)
    if style == "inverted":
        return 255 - pictures
    if style == "outlined":  # dark where brightness changes
        grey = pictures.float().mean(1, keepdim=True)
        change = (grey - F.avg_pool2d(grey, 5, 1, 2, count_include_pad=False)).abs()
        return (255 - (4 * change).clamp(0, 255)).to(torch.uint8).expand(-1, 3, -1, -1)
    return pictures


STYLES, FEW_STYLES = Styles(), Styles(40)
