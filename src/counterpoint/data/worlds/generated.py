"""The common parts of data sets with rows made from draws: splits of a preset, a row's draws, what a row lacks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from jaxtyping import Bool

from ..base import PairedData, Rows, Splits
from ..fingerprint import Fingerprint
from .rng import Rng
from .spec import Named, Side, described

GREY = 128
"""The value of every pixel of a picture that is not there."""
_SPLIT = 10**9  # ids of a split start at a multiple, so that they stay when another split grows


class GeneratedRows(PairedData):
    """Rows of which each is a function of its id and its split.

    Args:
        name: how the user named the data.
        world: what tells its draws from those of other worlds: kind, preset, version.
        seed: of the world.
        counts: the rows of every split, by its side and its name.
    """

    def __init__(self, name: str, world: str, seed: int, counts: Mapping[tuple[Side, str], int]) -> None:
        self.name, self.world, self.seed = name, world, seed
        self.sides, self.counts = list(counts), counts
        self._starts = [0, *accumulate(counts.values())]
        self.ids = np.concatenate([_SPLIT * k + np.arange(count) for k, count in enumerate(counts.values())])
        rows: dict[Side, dict[str, Rows]] = {"train": {}, "validation": {}, "test": {}}
        for k, (side, split) in enumerate(self.sides):
            rows[side][split] = np.arange(self._starts[k], self._starts[k + 1])
        self.splits = Splits(rows["train"][""], rows["validation"], rows["test"])

    def described_as(self, preset: Named) -> dict[str, dict[str, Any]]:
        """Return the description that any data set has, together with that of the preset's world."""
        found, world = PairedData.describe(self), described(preset)
        credit = {"attribution": {"pictures": self.attribution}} if self.attribution else {}
        return found | {**world, "data": found["data"] | world["data"]} | credit

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Digests of what determines the rows, none of which need be drawn for that."""
        return Fingerprint.of_world(self.made_of())

    def made_of(self) -> str:
        """Return what determines the rows: the world with its options and its version, its seed and its splits."""
        return repr((self.name, self.world, self.seed, list(self.counts.items())))

    def side(self, row: int) -> tuple[Side, str]:
        """The split of a row."""
        return self.sides[bisect_right(self._starts, row) - 1]

    def stream(self, row: int) -> str:
        """Return the text that tells the draws of a row's split from the draws of other splits."""
        return " ".join((self.world, *self.side(row)))

    def draws(self, row: int) -> Rng:
        """A row's own random choices."""
        return Rng(self.seed, int(self.ids[row]), self.stream(row))


def present(fractions: Mapping[str, float], draws: Sequence[Rng]) -> dict[str, Bool[np.ndarray, " n"]]:
    """Return a mask of the rows that have each modality; a fraction, drawn for each modality by itself, lacks it.

    >>> rows = [Rng(0, row) for row in range(4)]
    >>> {name: mask.tolist() for name, mask in present({"video": 0.5, "text": 0}, rows).items()}
    {'video': [False, False, True, False], 'text': [True, True, True, True]}

    Raises:
        ValueError: for a fraction outside [0, 1].
    """
    for name, fraction in fractions.items():
        if not 0 <= fraction <= 1:
            raise ValueError(f"the missing fraction of {name} must lie between 0 and 1, got {fraction}")
    return {
        name: np.array([not own.happens(f"missing {name}", fraction) for own in draws], dtype=bool)
        for name, fraction in fractions.items()
    }
