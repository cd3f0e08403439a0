"""Smoke runs: the one place that decides how little of an experiment they carry out.

Two seeds, the ends of each axis, and a hundredth of every setting that is a size. A claim never asks: it names its full
design, and each point of it is measured at the nearest one that a smoke run keeps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")

SEEDS = 2
"""Most seeds of a smoke run."""
PART = 100
"""Divisor of sizes."""
SAMPLE = 64
"""Fewest examples of a training or a test set: of fewer, some kind of them would be missing."""
OF_ALL = 32
"""Examples where the whole experiment takes all that there are: a size of None; a batch of them."""
_LENGTHS = ("steps", "family", "inversion", "read", "tuned")
_NUMBERS = (
    "anchors",
    "compared",
    "conversations",
    "count",
    "described",
    "draws",
    "limit",
    "models",
    "most",
    "n_boot",
    "per_class",
    "pictures",
    "repeats",
    "scenes",
    "size",
    "sizes",
    "subsets",
    "tested",
    "trained",
    "views",
    "worlds",
)
_SAMPLES = ("train_size", "held_size", "test_size")
SIZES = frozenset((*_LENGTHS, *_NUMBERS, *_SAMPLES))
"""Settings that say how long something takes: lengths of training, and numbers of examples."""
OWN = {"similar": 0.2, "different": 0.9, "asked": 4}
"""Settings that a smoke run has at values of its own.

Quantiles that some of few pairs pass, and pictures enough that every kind of question is asked of one of them.
"""


def ends(values: Sequence[T]) -> tuple[T, ...]:
    """Return the first and the last value of an axis.

    >>> ends((8, 16, 64, 256))
    (8, 256)
    """
    return tuple(values) if len(values) <= 2 else (values[0], values[-1])


def first(values: Sequence[T]) -> tuple[T, ...]:
    """Return the first two values of what is computed on the spot, of which the first cost least.

    >>> first((512, 1024, 2048))
    (512, 1024)
    """
    return tuple(values[:2])


def nearest_end(values: Sequence[T], value: T) -> T:
    """Return the end of an axis that stands for one of its values.

    >>> [nearest_end((8, 16, 64, 256), batch) for batch in (8, 16, 64)]
    [8, 8, 256]
    """
    return values[0] if 2 * values.index(value) < len(values) - 1 or len(values) == 1 else values[-1]


def reduced(name: str, value: Any) -> Any:
    """Return a setting as a smoke run has it: a hundredth of a size or of several, at least 2 of what is counted.

    >>> reduced("steps", 300), reduced("steps", 4), reduced("inversion", 0.5), reduced("lr", 0.5)
    (3, 2, 0.005, 0.5)
    >>> reduced("train_size", 4000), reduced("train_size", 10_000)
    (64, 100)
    >>> reduced("steps", (400, 600)), reduced("most", None)
    ((4, 6), 32)
    """
    if name in OWN:
        return OWN[name]
    if name not in SIZES or isinstance(value, bool):
        return value
    if value is None:
        return OF_ALL
    if isinstance(value, tuple):
        return tuple(reduced(name, one) for one in value)
    if isinstance(value, int):
        return min(value, max(SAMPLE if name in _SAMPLES else 2, value // PART))
    return value / PART if isinstance(value, float) else value


def smaller(data: str) -> str:
    """Return the name of a made world with fewer examples of a split: a hundredth, but `OF_ALL` where there are more.

    >>> smaller("scenes:clutter,clutter=3-4,train=15000,test=150"), smaller("emoji")
    ('scenes:clutter,clutter=3-4,train=150,test=32', 'emoji')
    """

    def fewer(split: re.Match[str]) -> str:
        count = int(split[2])
        return f"{split[1]}{min(count, max(OF_ALL, count // PART))}"

    return re.sub(r"((?:train|validation|test)=)(\d+)", fewer, data)


def unqueued(arm: str) -> str:
    """Return an arm whose queue is as long as its few rows allow.

    >>> unqueued("mochi,queue=512,hardest=32")
    'mochi,hardest=32'
    """
    return re.sub(r",queue=\d+", "", arm)


def unthinned(labels: str) -> str:
    """Return labels whose classes keep their rows: of the few of a smoke run an imbalance would leave some without any.

    >>> unthinned("concept,imbalance=100"), unthinned("group,share=0.05")
    ('concept', 'group,share=0.05')
    """
    return re.sub(r",imbalance=[\d.]+", "", labels)
