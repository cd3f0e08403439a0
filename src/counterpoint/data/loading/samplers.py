"""Samplers: which rows make the batches of an epoch, as functions of the rows' classes, the seed and the epoch alone.

A sampler is written ``NAME``, or ``NAME:K`` where it counts K rows of a class; several between plus signs are streams,
which share every batch equally: ``natural+reversed``.

=============  ======================================================================================================
``natural``    every row once an epoch
``balanced``   all classes equally often, the rows of a class in turn
``reversed``   a class of n rows as often as 1 / n says, so that the rarest comes most
``classes:K``  P classes × K rows of each, P K the batch
``groups``     each batch from one class; what does not fill a batch waits for another epoch
``bound:K``    K rows of each class, always the same ones, in every batch, and others beside them
=============  ======================================================================================================

A row without a class (−1) comes in ``natural`` and beside the rows that are ``bound``, and nowhere else. ``natural``,
``balanced`` and ``reversed`` go by tags, too: a row is one of every tag that it has.

Source: reversed, Zhou et al., "BBN: Bilateral-Branch Network with Cumulative Learning for Long-Tailed Visual
Recognition" (2020), arXiv 1912.02413; groups, `counterpoint.catalog` mcl; bound, scl-relu.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self, final, get_args

import numpy as np
from jaxtyping import Float, Int

from ...registry import unknown

Name = Literal["natural", "balanced", "reversed", "classes", "groups", "bound"]
NATURAL = "natural"
PAPERS = {"scl-relu": ("Sampler",)}
_COUNTED: dict[str, int | None] = {
    "classes": None,
    "bound": 1,
}  # those that count rows, with how many unless given
_BOUND = 0xB0D1  # apart from the draws of epochs

Classes = Int[np.ndarray, "N *tags"]
Batches = Int[np.ndarray, "steps batch"]


@final
@dataclass(frozen=True)
class Sampler:
    """A sampler with the rows of a class that it counts; 0 for those that count none.

    >>> Sampler.parse("classes:4"), str(Sampler.parse("balanced"))
    (Sampler(name='classes', each=4), 'balanced')
    """

    name: Name
    each: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a sampler.

        Raises:
            UnknownNameError: for a sampler that there is not.
            ValueError: for a number that is none, missing or in vain.
        """
        name, colon, number = text.partition(":")
        if name not in get_args(Name):
            raise unknown("sampler", name, get_args(Name))
        counts = number.isdecimal() and int(number) > 0
        if name not in _COUNTED and colon:
            raise ValueError(f"sampler {text!r}: {name} counts no rows; write {name}")
        if name in _COUNTED and not counts:
            raise ValueError(
                f"sampler {text!r}: write {name}:K, with K rows of a class, for example {name}:4"
            )
        return cls(name, int(number) if counts else 0)  # type: ignore[arg-type] # it is one of the names

    def __str__(self) -> str:
        return f"{self.name}:{self.each}" if self.each else self.name

    def batch(self, size: int) -> int:
        """Return how many rows its batches have where so many are asked for: of ``classes``, whole classes."""
        return size // self.each * self.each if self.name == "classes" else size

    def epoch(self, classes: Classes, batch: int, seed: int, epoch: int) -> Batches:
        """Return the batches of an epoch, as many in each: positions among the rows.

        Args:
            classes: of the rows, −1 for none; or of every tag 1 where a row has it.
            batch: rows of a batch.
            seed, epoch: which all draws follow from.

        Raises:
            ValueError: for rows of too few classes, or of which no batch can be made; for tags, of a sampler that goes
                by classes alone.

        >>> classes = np.array([0, 0, 0, 0, 0, 0, 1, 1])
        >>> np.bincount(classes[Sampler("balanced").epoch(classes, 4, 0, 0)].ravel())
        array([4, 4])
        """
        draws = np.random.default_rng([seed, epoch])
        if self.name == "natural":
            return _cut(draws.permutation(len(classes)), batch)
        if classes.ndim > 1 and self.name not in ("balanced", "reversed"):
            raise ValueError(
                f"sampler={self} goes by classes, and the label is of tags: take balanced or reversed"
            )
        members = members_of(classes)
        if not members:
            raise ValueError(f"sampler={self} goes by classes, and no row to train on has one")
        if self.name == "classes":
            return _classes(members, len(classes), batch // self.each, self.each, draws)
        if self.name == "groups":
            return _groups(members, batch, draws)
        if self.name == "bound":
            return _bound(members, len(classes), batch, self.each, seed, draws)
        sizes = np.array([len(rows) for rows in members], dtype=float)
        weights = np.ones_like(sizes) if self.name == "balanced" else 1 / sizes
        return _cut(_weighted(members, weights / weights.sum(), len(classes) // batch * batch, draws), batch)


def streams(text: str) -> tuple[Sampler, ...]:
    """Read the samplers that stand between plus signs; see `Sampler.parse` for errors.

    >>> [sampler.name for sampler in streams("natural+reversed")]
    ['natural', 'reversed']
    """
    return tuple(Sampler.parse(name) for name in text.split("+"))


def members_of(classes: Classes) -> list[Int[np.ndarray, " n"]]:
    """Return the positions of the rows of every class, or tag, that has some, in the order of the classes.

    >>> [rows.tolist() for rows in members_of(np.array([2, -1, 0, 2]))]
    [[2], [0, 3]]
    >>> [rows.tolist() for rows in members_of(np.array([[1, 0, 1], [0, 0, 1]]))]
    [[0], [0, 1]]
    """
    if classes.ndim > 1:
        return [rows for tag in classes.T if len(rows := np.flatnonzero(tag == 1))]
    order = np.argsort(classes, kind="stable")
    order = order[classes[order] >= 0]
    return np.split(order, np.flatnonzero(np.diff(classes[order])) + 1) if len(order) else []


def occurrences(line: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return how often each entry, a row or a class, has come before in a line.

    >>> occurrences(np.array([5, 3, 5, 5, 3])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(line, kind="stable")
    starts = np.flatnonzero(np.diff(line[order], prepend=-2))
    counts = np.diff(starts, append=len(line))
    before = np.empty(len(line), dtype=np.int64)
    before[order] = np.arange(len(line)) - np.repeat(starts, counts)
    return before


def _cut(line: Int[np.ndarray, " n"], batch: int) -> Batches:
    return line[: len(line) // batch * batch].reshape(-1, batch)


def _turns(rows: Int[np.ndarray, " n"], turns: int, draws: np.random.Generator) -> Int[np.ndarray, "turns n"]:
    """Return permutations of the rows, one a turn."""
    return rows[draws.random((turns, len(rows))).argsort(1)]


def _weighted(
    members: list[Int[np.ndarray, " _"]],
    weights: Float[np.ndarray, " C"],
    count: int,
    draws: np.random.Generator,
) -> Int[np.ndarray, " count"]:
    """Return a line in which each class has its share of the places, spread evenly over it."""
    # The ends of the shares are rounded, up or down by one draw, so that a share is exact on average.
    ends = np.floor(np.cumsum(weights) * count + draws.random()).astype(int).clip(max=count)
    ends[-1] = count
    counts: list[int] = np.diff(ends, prepend=0).tolist()
    rows = [
        _turns(of_class, -(-n // len(of_class)), draws).ravel()[:n]
        for of_class, n in zip(members, counts, strict=True)
    ]
    places = [(np.arange(n) + draws.random()) / max(n, 1) for n in counts]
    return np.concatenate(rows)[np.argsort(np.concatenate(places), kind="stable")]


def _classes(
    members: list[Int[np.ndarray, " _"]], count: int, many: int, each: int, draws: np.random.Generator
) -> Batches:
    if not 0 < many <= len(members):
        fault = (
            f"needs {many} classes a batch"
            if many
            else f"needs {each} rows of a class, more than a batch has"
        )
        raise ValueError(
            f"sampler=classes:{each} {fault}, and there are {len(members)} classes: make batch_size "
            f"{each * len(members)} at most and {each} at least, or take another K"
        )
    steps = count // (many * each)
    chosen = draws.random((steps, len(members))).argsort(1)[:, :many]
    batches = np.empty((steps, many, each), dtype=np.int64)
    for number, rows in enumerate(members):
        here = np.nonzero(chosen == number)
        # A turn is cut into whole parts of K, lest a row meet itself where two turns meet; few rows come again.
        parts = max(len(rows) // each, 1)
        turns = _turns(rows, -(-len(here[0]) // parts), draws)
        line = turns[:, np.arange(parts * each) % len(rows)].reshape(-1, each)
        batches[here] = line[: len(here[0])]
    return batches.reshape(steps, many * each)


def _groups(members: list[Int[np.ndarray, " _"]], batch: int, draws: np.random.Generator) -> Batches:
    parts = [_cut(draws.permutation(rows), batch) for rows in members]
    batches = np.concatenate(parts)
    if not len(batches):
        raise ValueError(
            f"sampler=groups makes a batch of one class, and the largest has {max(map(len, members))} rows: make "
            "batch_size that at most"
        )
    return draws.permutation(batches)


def _bound(
    members: list[Int[np.ndarray, " _"]],
    count: int,
    batch: int,
    each: int,
    seed: int,
    draws: np.random.Generator,
) -> Batches:
    once = np.random.default_rng([seed, _BOUND])
    bound = np.concatenate([once.permutation(rows)[:each] for rows in members])
    others = np.setdiff1d(np.arange(count), bound)
    free = batch - len(bound)
    if not 0 < free <= len(others):
        raise ValueError(
            f"sampler=bound:{each} binds {len(bound)} rows, one or more of each class, to every batch of {batch}, and "
            f"{len(others)} others share what is left: make batch_size larger than {len(bound)} and {count} at most"
        )
    rest = _cut(draws.permutation(others), free)
    return np.concatenate([np.broadcast_to(bound, (len(rest), len(bound))), rest], axis=1)
