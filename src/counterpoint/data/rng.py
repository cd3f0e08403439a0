"""Draws from a keyed hash: each is a function of the seed, the scene and what it is for, on every machine.

A scene's annotations must be the same bytes everywhere, whichever other scenes are made and in which order, so
nothing here reads a library's random stream: integers in, integers out, in exact arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TypeVar, final

T = TypeVar("T")

_MASK = 2**64 - 1


def _mix(x: int) -> int:
    """Apply the output function of SplitMix64, as in :mod:`counterpoint.data.views.keys`, to one Python integer."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


@lru_cache(maxsize=65536)
def _word(purpose: str) -> int:
    return int.from_bytes(blake2b(purpose.encode(), digest_size=8).digest(), "little")


@final
class Rng:
    """The random choices of one scene, each named by its purpose; asking twice gives the same answer twice.

    Args:
        seed: of the world.
        index: of the scene in it.
        stream: what kind of thing is drawn (``"train"``); streams are independent.

    >>> a, b = Rng(0, 7), Rng(0, 7)
    >>> a.integer("count", 1, 4) == b.integer("count", 1, 4)
    True
    """

    __slots__ = ("_key",)

    def __init__(self, seed: int, index: int, stream: str = "") -> None:
        self._key = _mix(_mix(_mix(_word(stream)) ^ (seed & _MASK)) ^ (index & _MASK))

    def word(self, purpose: str) -> int:
        """Return 64 random bits."""
        return _mix(self._key ^ _word(purpose))

    def uniform(self, purpose: str) -> float:
        """Draw a number in [0, 1)."""
        return (self.word(purpose) >> 11) * 2.0**-53

    def integer(self, purpose: str, low: int, high: int) -> int:
        """Draw a whole number from ``low`` to ``high``, both included."""
        return low + (self.word(purpose) * (high - low + 1) >> 64)

    def choice(self, purpose: str, options: Sequence[T]) -> T:
        """Draw one of some options, each as likely."""
        return options[self.word(purpose) * len(options) >> 64]

    def sample(self, purpose: str, options: Sequence[T], count: int) -> list[T]:
        """Draw ``count`` different options, in random order."""
        left = list(options)
        for index in range(count):
            other = self.integer(f"{purpose} {index}", index, len(left) - 1)
            left[index], left[other] = left[other], left[index]
        return left[:count]

    def weighted(self, purpose: str, options: Sequence[T], weights: Sequence[int]) -> T:
        """Draw one of some options, as likely as its whole-numbered weight."""
        point = self.word(purpose) * sum(weights) >> 64
        for option, weight in zip(options, weights, strict=True):
            point -= weight
            if point < 0:
                return option
        raise ValueError(f"weights must be whole numbers with a positive sum, got {list(weights)}")

    def happens(self, purpose: str, probability: float) -> bool:
        """Return whether something of this probability happens."""
        return self.uniform(purpose) < probability
