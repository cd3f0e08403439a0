"""Row and column log-sum-exp of the same logits from one exponential.

Both need ``exp(logit − something)``; with the tile's maximum as that something one exponential serves both,
as long as no row or column lies so far below it that its sum would underflow. Where it would, the two are
computed apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from .reductions import LogSumExp, Reduction, State, finite

Key: TypeAlias = tuple[str, str]
Declared: TypeAlias = list[tuple[str, str, Reduction]]

_SMALLEST_SUM = 1e-20
"""Sums above this have lost nothing to underflow in float32, whose smallest normal number is 1e-38."""
_LARGEST_SPREAD = 60.0
"""exp(60) is 1e26: no overflow in float32, and what underflows beside it is below its precision."""


def _pair(found: Declared) -> tuple[str, str, LogSumExp] | None:
    """The names of a row and a column `LogSumExp` that read the same logits."""
    rows = [(name, r) for per, name, r in found if per == "row" and type(r) is LogSumExp]
    columns = [(name, r) for per, name, r in found if per == "column" and type(r) is LogSumExp]
    for row, r in rows:
        for column, c in columns:
            if r.tensors[0] is c.tensors[0]:
                return row, column, r
    return None


def parts(found: Declared) -> dict[Key, State]:
    """The states of this tile, if one exponential can serve both directions."""
    pair = _pair(found)
    if pair is None:
        return {}
    row, column, reduction = pair
    (logits,) = reduction.tensors
    maximum = finite(logits.amax())
    exponential = (logits - maximum).exp_()
    across, down = exponential.sum(1), exponential.sum(0)
    if not bool(torch.minimum(across.amin(), down.amin()) > _SMALLEST_SUM):
        return {}
    return {
        ("row", row): [maximum.expand_as(across), across],
        ("column", column): [maximum.expand_as(down), down],
    }


def cotangents(
    found: Declared, local: Mapping[Key, tuple[list[Tensor], list[Tensor | None]]]
) -> dict[Key, list[tuple[Tensor, Tensor]]]:
    """The gradient of both in the logits, from one exponential; empty where that cannot be exact."""
    pair = _pair(found)
    if pair is None:
        return {}
    row, column, reduction = pair
    if ("row", row) not in local or ("column", column) not in local:
        return {}
    (logits,) = reduction.tensors
    ((across,), (row_grad,)), ((down,), (column_grad,)) = local["row", row], local["column", column]
    assert row_grad is not None
    assert column_grad is not None
    highest, lowest = torch.maximum(across.amax(), down.amax()), torch.minimum(across.amin(), down.amin())
    if not bool(highest - lowest < _LARGEST_SPREAD):
        return {}
    weight = (row_grad * (highest - across).exp())[:, None] + (column_grad * (highest - down).exp())[None]
    gradient = weight.mul_((logits - highest).exp_())
    return {("row", row): [(logits, gradient)], ("column", column): []}
