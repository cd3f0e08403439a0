"""Row and column log-sum-exp of the same logits from one exponential.

Both need ``exp(logit − something)``; one number as that something serves both, as long as no row's or column's sum
would underflow or overflow. Every pass over a tile costs, so nothing at all is taken off where that can be, else the
maximum of an earlier tile, else the tile's own; and where that is not exact either, the two are computed apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from .reductions import LogSumExp, Reduction, State, finite

Key: TypeAlias = tuple[str, str]
Declared: TypeAlias = list[tuple[str, str, Reduction]]

_SMALLEST_SUM, _LARGEST_SUM = 1e-20, 1e20
"""Sums between these have lost nothing to underflow in float32, whose smallest normal number is 1e-38, nor to
overflow."""
_SMALL = 40.0
"""exp(±40) is far from the ends of float32, and so are products of two such numbers."""
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


def parts(found: Declared, reference: Tensor | None = None) -> tuple[dict[Key, State], Tensor | None]:
    """The states of this tile, if one exponential can serve both directions.

    Args:
        found: the tile's reductions.
        reference: what an earlier tile took off its logits; None for nothing.

    Returns:
        The states by key, and the reference for the next tile.
    """
    pair = _pair(found)
    if pair is None:
        return {}, None
    row, column, reduction = pair
    (logits,) = reduction.tensors
    shared = _sums(logits, reference)
    if shared is None:
        reference = finite(logits.amax())
        shared = _sums(logits, reference)
    if shared is None:
        return {}, None
    across, down = shared
    taken = across.new_zeros(()) if reference is None else reference
    states = {
        ("row", row): [taken.expand_as(across), across],
        ("column", column): [taken.expand_as(down), down],
    }
    return states, reference


def _exponential(logits: Tensor, taken: Tensor | None) -> Tensor:
    return logits.exp() if taken is None else (logits - taken).exp_()


def _sums(logits: Tensor, taken: Tensor | None) -> tuple[Tensor, Tensor] | None:
    """Sums over rows and columns of ``exp(logits − taken)``; None where one of them is not exact."""
    exponential = _exponential(logits, taken)
    across, down = exponential.sum(1), exponential.sum(0)
    low, high = torch.minimum(across.amin(), down.amin()), torch.maximum(across.amax(), down.amax())
    return (across, down) if bool((low > _SMALLEST_SUM) & (high < _LARGEST_SUM)) else None


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
    taken = None if bool(torch.maximum(highest, -lowest) < _SMALL) else highest
    if not bool(highest - lowest < _LARGEST_SPREAD):
        return {}
    off = 0.0 if taken is None else taken
    weight = (row_grad * (off - across).exp())[:, None] + (column_grad * (off - down).exp())[None]
    gradient = weight.mul_(_exponential(logits, taken))
    return {("row", row): [(logits, gradient)], ("column", column): []}
