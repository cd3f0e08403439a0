"""The common parts of worlds: splits of a preset, a row's draws, what a row lacks."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from jaxtyping import Bool

from ...spec import Spec
from ..base import Data, Rows, Splits
from ..fingerprint import Fingerprint
from ..rng import Rng
from ..sides import SIDES, Side
from .config import WorldConfig
from .preset import Preset, preset_of

C = TypeVar("C", bound=WorldConfig)
R = TypeVar("R")

GREY = 128
"""The value of every pixel of a picture that is not there."""
_SPLIT = 10**9  # ids of a split start at a multiple, so that they stay when another split grows


class SyntheticData(Data, Generic[C, R]):
    """Rows of a preset, made when they are asked for: each is a function of its id and its split.

    Args:
        preset: what the rows are like, and how many there are.
        name: how the user named the world.
    """

    presets: ClassVar[Mapping[str, Preset[Any]]]
    """The presets of this kind of world by name; ``basic`` is the one that is meant unless another is given."""
    gaps: ClassVar[Mapping[str, tuple[str, str]]]
    """Columns that a row may lack, each with the word of its draw and the option that is the fraction of such rows."""
    preset: Preset[C]

    def __init__(self, preset: Preset[C], name: str = "") -> None:
        splits = preset.splits
        self.preset, self.name = preset, name or f"{preset.world}:{preset.name}"
        self._key, self._sides = preset.key, list(splits)
        self.configs = [config for _, config in splits.values()]
        self._counts = {side: count for side, (count, _) in splits.items()}
        counts = self._counts.values()
        self._starts = [0, *accumulate(counts)]
        self.ids = np.concatenate([_SPLIT * k + np.arange(count) for k, count in enumerate(counts)])
        rows: dict[Side, dict[str, Rows]] = {side: {} for side in SIDES}
        for k, (side, split) in enumerate(self._sides):
            rows[side][split] = np.arange(self._starts[k], self._starts[k + 1])
        self.splits = Splits(rows["train"][""], rows["validation"], rows["test"])
        self.made = lru_cache(maxsize=2**16)(self._made)

    def __reduce__(self) -> tuple[Callable[..., Data], tuple[Any, ...]]:
        return type(self), (self.preset, self.name)  # rows are made anew where they are unpickled

    @classmethod
    def parse(cls, source: str) -> Self:
        """Return a world as it is written: ``scenes:PRESET``, then options after commas.

        Raises:
            UnknownNameError: for an unknown preset or option.
            ValueError: for a value that an option cannot have, or an option without one.
        """
        spec = Spec.parse(source)
        return cls(preset_of(spec, cls.presets), str(spec))

    @abstractmethod
    def make(self, config: C, index: int, stream: str) -> R:
        """Return what a row shows or sounds like, as a function of these arguments and the seed.

        Args:
            config: of the row's split.
            index: the row's id.
            stream: tells the draws of the row's split from those of other splits.
        """

    def _made(self, row: int) -> R:
        return self.make(self.config(row), int(self.ids[row]), self.stream(row))

    def describe(self) -> dict[str, dict[str, Any]]:
        rows, world = super().describe(), self.preset.describe()
        return rows | world | {"data": rows["data"] | world["data"]}

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Digests of what determines the rows, none of which need be made for that."""
        return Fingerprint.of_world(self.made_of())

    def _digest_parts(self, columns: Iterable[str]) -> Iterator[bytes]:
        yield self.made_of().encode()

    def made_of(self) -> str:
        """Return what determines the rows: the world with its options and its version, its seed and its splits.

        A preset that was changed in Python bears the name of the one that it was, so that its options are added.
        """
        stated = (self.name, self._key, self.preset.seed, list(self._counts.items()))
        return repr(stated if self.preset == self._named() else (*stated, self.configs))

    def _named(self) -> Preset[C] | None:
        """Return the preset that the name stands for."""
        try:
            return self.parse(self.name).preset
        except ValueError:
            return None

    def side(self, row: int) -> tuple[Side, str]:
        """Return the split of a row."""
        return self._sides[self._split(row)]

    def _split(self, row: int) -> int:
        return bisect_right(self._starts, row) - 1

    def config(self, row: int) -> C:
        """Return the configuration of a row's split."""
        return self.configs[self._split(row)]

    def stream(self, row: int) -> str:
        """Return the text that tells the draws of a row's split from the draws of other splits."""
        return " ".join((self._key, *self.side(row)))

    def lacks(self, column: str, row: int) -> bool:
        """Return whether a row has a gap where another one has a value of this column."""
        word, option = self.gaps[column]
        fraction: float = getattr(self.config(row), option)
        return fraction > 0 and self.draws(row).happens(f"missing {word}", fraction)

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        if column not in self.gaps:
            return super().present(column, rows)
        return np.array([not self.lacks(column, int(row)) for row in rows], dtype=bool)

    def draws(self, row: int) -> Rng:
        """Return a row's random choices, besides those that it was made with."""
        return Rng(self.preset.seed, int(self.ids[row]), self.stream(row))
