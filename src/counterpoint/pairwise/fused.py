"""Log-sum-exps of the same logits, over rows, columns or both, from one exponential.

Each needs ``exp(logit − something)``; one number as that something serves all rows and columns, as long as no sum would
underflow or overflow. Every pass over a tile costs, so nothing at all is taken off where that can be, else the maximum
of an earlier tile, else the tile's own; and where that is not exact either, each row and column takes off its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from .reductions import DIMS, LogSumExp, Reduction, State, finite, spread

Key: TypeAlias = tuple[str, str]
Declared: TypeAlias = list[tuple[str, str, Reduction]]
References: TypeAlias = dict[tuple[Key, ...], Tensor]
"""What earlier tiles took off their logits, by the log-sum-exps that read them; nothing, where there is none."""

_SMALLEST_SUM, _LARGEST_SUM = 1e-20, 1e20
"""Sums between these have lost nothing to underflow in float32, whose smallest normal number is 1e-38, nor to
overflow."""
_SMALL = 40.0
"""exp(±40) is far from the ends of float32, and so are products of two such numbers."""
_LARGEST_SPREAD = 60.0
"""exp(60) is 1e26: no overflow in float32, and what underflows beside it is below its precision."""


def _sharing(found: Declared) -> Iterator[tuple[tuple[Key, ...], Tensor]]:
    """Logits, and what is a `LogSumExp` of their rows or columns."""
    readers: dict[int, list[Key]] = {}
    logits: dict[int, Tensor] = {}
    for per, name, reduction in found:
        if type(reduction) is LogSumExp and per != "total":
            (read,) = reduction.tensors
            readers.setdefault(id(read), []).append((per, name))
            logits[id(read)] = read
    for place, keys in readers.items():
        yield tuple(keys), logits[place]


def parts(found: Declared, references: References) -> dict[Key, State]:
    """The states of this tile by key, of those that one exponential can serve.

    Args:
        found: the tile's reductions.
        references: of the tiles before; this one's are put there for the next.
    """
    states: dict[Key, State] = {}
    for keys, logits in _sharing(found):
        reference = references.get(keys)
        sums = _sums(keys, logits, reference)
        if sums is None:
            reference = references[keys] = finite(logits.amax())
            if len(keys) > 1:  # a single one is as fast with a number a row
                sums = _sums(keys, logits, reference)
        if sums is not None:
            taken = logits.new_zeros(()) if reference is None else reference
            states |= {key: [taken.expand_as(s), s] for key, s in zip(keys, sums, strict=True)}
    return states


def _exponential(logits: Tensor, taken: Tensor | None) -> Tensor:
    return logits.exp() if taken is None else (logits - taken).exp_()


def _sums(keys: tuple[Key, ...], logits: Tensor, taken: Tensor | None) -> list[Tensor] | None:
    """Sums over rows and columns of ``exp(logits − taken)``; None where one of them is not exact."""
    exponential = _exponential(logits, taken)
    sums = [exponential.sum(DIMS[per]) for per, _ in keys]
    low, high = torch.stack([s.amin() for s in sums]).amin(), torch.stack([s.amax() for s in sums]).amax()
    return sums if bool((low > _SMALLEST_SUM) & (high < _LARGEST_SUM)) else None


def cotangents(
    found: Declared, local: Mapping[Key, tuple[list[Tensor], list[Tensor | None]]]
) -> dict[Key, list[tuple[Tensor, Tensor]]]:
    """The gradients of all that read the same logits, from one exponential; without those where it is not exact."""
    pairs: dict[Key, list[tuple[Tensor, Tensor]]] = {}
    for keys, logits in _sharing(found):
        wanted = [key for key in keys if key in local]
        if not wanted:
            continue
        results = [local[key][0][0] for key in wanted]
        highest = torch.stack([r.amax() for r in results]).amax()
        lowest = torch.stack([r.amin() for r in results]).amin()
        if not bool(highest - lowest < _LARGEST_SPREAD):
            continue
        taken = None if bool(torch.maximum(highest, -lowest) < _SMALL) else highest
        weights = []
        for key, result in zip(wanted, results, strict=True):
            grad = local[key][1][0]
            assert grad is not None
            weights.append(spread(grad * ((0.0 if taken is None else taken) - result).exp(), DIMS[key[0]]))
        weight = sum(weights[1:], weights[0])
        pairs |= {key: [] for key in wanted}
        pairs[wanted[0]] = [(logits, _exponential(logits, taken).mul_(weight))]
    return pairs
