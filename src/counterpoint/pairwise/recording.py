"""Lets `explain` see the scores that a loss forms: matrices of a tile, and scores of matched pairs."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class PairScores:
    """Scores of rows of ``left`` with rows of ``right``, all or one to one; ``sign`` is −1 for distances.

    A row that is a bag of vectors is all of them in one.
    """

    values: Tensor
    left: Tensor
    right: Tensor
    sign: int


@dataclass
class Recorder:
    """A record of the similarity matrices and diagonals that a loss asks for."""

    matrices: list[PairScores] = field(default_factory=list)
    diagonals: list[PairScores] = field(default_factory=list)


ACTIVE: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


def matrix(values: Tensor, left: Tensor, right: Tensor, sign: int = 1) -> Tensor:
    """Note ``values (r, c)`` and return them."""
    recorder = ACTIVE.get()
    if recorder is not None and values.requires_grad:
        recorder.matrices.append(PairScores(values, left.flatten(1), right.flatten(1), sign))
    return values


def diagonal(values: Tensor, left: Tensor, right: Tensor, sign: int = 1) -> Tensor:
    """Note ``values (B,)`` and return them."""
    recorder = ACTIVE.get()
    if recorder is not None and values.requires_grad:
        recorder.diagonals.append(PairScores(values, left.flatten(1), right.flatten(1), sign))
    return values
