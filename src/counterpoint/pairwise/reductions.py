"""Reductions of the rows, the columns or the whole of a similarity matrix, tile by tile.

A reduction reads tensors of one tile ``(r, c)`` and knows: its running state (`init`, `part`, `merge`), its
result (`finish`), and the gradient of its result with respect to the tile's tensors (`cotangents`). ``dim``
is 1 for "per row", 0 for "per column" and (0, 1) for "in total". `dense` is the same thing in plain PyTorch,
for a tile that is everything.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .exponential import exponential
from .tile import NEG

Dim: TypeAlias = int | tuple[int, int]
State: TypeAlias = list[Tensor]
DIMS: dict[str, Dim] = {"row": 1, "column": 0, "total": (0, 1)}


def spread(reduced: Tensor, dim: Dim) -> Tensor:
    """Return a reduced vector against its tile, ready to broadcast."""
    return reduced.unsqueeze(dim) if isinstance(dim, int) else reduced


def finite(maximum: Tensor) -> Tensor:
    """Return 0 in place of −inf, so that (−inf) − (−inf) never happens."""
    return maximum.masked_fill(maximum == NEG, 0.0)


class Reduction(ABC):
    """The base of all reductions; ``tensors`` are what it reads of the tile, and receive gradients."""

    tensors: tuple[Tensor, ...]

    @abstractmethod
    def init(self, n: int) -> State:
        """Return the state before any tile."""

    @abstractmethod
    def part(self, dim: Dim, start: int) -> State:
        """Return the state of this tile; ``start`` is the global index of its first element along ``dim``."""

    @abstractmethod
    def merge(self, a: State, b: State) -> State:
        """Return the state of two disjoint parts."""

    @abstractmethod
    def finish(self, state: State) -> tuple[Tensor, ...]:
        """Return the results; `wrap` hands them to the loss, `cotangents` reads them again."""

    @abstractmethod
    def cotangents(
        self, out: Sequence[Tensor], grad: Sequence[Tensor | None], dim: Dim, start: int
    ) -> list[Tensor]:
        """Turn the gradient of the results into that of each of ``tensors``: each a tensor of its own, or a view."""

    @abstractmethod
    def dense(self, dim: Dim) -> Any:
        """Return the result itself, by ordinary differentiable operations."""

    def used(self) -> tuple[Tensor, ...]:
        """Return everything that the result is computed from."""
        return self.tensors

    @staticmethod
    def wrap(out: Sequence[Tensor]) -> Any:
        """Return the results as the loss sees them."""
        return out[0]


class LogSumExp(Reduction):
    """``log sum exp(logits)``; −inf where every logit is −inf.

    Args:
        logits: ``(r, c)``; −inf removes a pair.
    """

    def __init__(self, logits: Tensor) -> None:
        self.tensors = (logits,)

    def init(self, n: int) -> State:
        like = self.tensors[0]
        # The state of no logit at all, which changes nothing that it is merged with.
        return [like.new_full((n,), NEG), like.new_zeros(n)]

    def part(self, dim: Dim, start: int) -> State:
        (logits,) = self.tensors
        maximum = logits.amax(dim)
        return [maximum, exponential(logits, spread(finite(maximum), dim)).sum(dim)]

    def merge(self, a: State, b: State) -> State:
        # Each sum is relative to the maximum of its part; relative to the larger one no exponential exceeds 1.
        maximum = torch.maximum(a[0], b[0])
        safe = finite(maximum)
        return [maximum, a[1] * (a[0] - safe).exp() + b[1] * (b[0] - safe).exp()]

    def finish(self, state: State) -> tuple[Tensor, ...]:
        return (state[0] + state[1].log(),)

    def cotangents(
        self, out: Sequence[Tensor], grad: Sequence[Tensor | None], dim: Dim, start: int
    ) -> list[Tensor]:
        assert grad[0] is not None
        # In place, as everywhere outside `dense`: no graph is kept, and a tile is as large as it may be.
        softmax = exponential(self.tensors[0], spread(finite(out[0]), dim))
        return [softmax.mul_(spread(grad[0], dim))]

    def dense(self, dim: Dim) -> Tensor:
        # Not torch.logsumexp: its gradient at an empty row is NaN, ours is 0.
        (logits,) = self.tensors
        maximum = logits.detach().amax(dim)  # it cancels out of the result, and so out of the gradient
        total = (logits - spread(finite(maximum), dim)).exp().sum(dim)
        # The log of an empty row's 0 would have an infinite gradient, which times 0 is NaN, although it is not taken.
        empty = maximum == NEG
        return torch.where(empty, NEG, finite(maximum) + total.masked_fill(empty, 1.0).log())


def log_sum_exp(logits: Float[Tensor, "r c"]) -> Float[Tensor, " r"]:
    """Compute the log-sum-exp of each row, for `WholeRow`; −inf, without gradient, where every logit is −inf.

    >>> log_sum_exp(torch.tensor([[0.0, 0.0], [NEG, NEG]])).exp().tolist()
    [2.0, 0.0]
    """
    return LogSumExp(logits).dense(1)


class Sum(Reduction):
    """``sum(values)``.

    Args:
        values: ``(r, c)``.
    """

    def __init__(self, values: Tensor) -> None:
        self.tensors = (values,)

    def init(self, n: int) -> State:
        return [self.tensors[0].new_zeros(n)]

    def part(self, dim: Dim, start: int) -> State:
        return [self.tensors[0].sum(dim)]

    def merge(self, a: State, b: State) -> State:
        return [a[0] + b[0]]

    def finish(self, state: State) -> tuple[Tensor, ...]:
        return (state[0],)

    def cotangents(
        self, out: Sequence[Tensor], grad: Sequence[Tensor | None], dim: Dim, start: int
    ) -> list[Tensor]:
        assert grad[0] is not None
        return [spread(grad[0], dim).expand_as(self.tensors[0])]

    def dense(self, dim: Dim) -> Tensor:
        return self.tensors[0].sum(dim)


class Gather(Sum):
    """The value of each row at one column, 0 where there is no such column: a sum of which one term counts.

    Args:
        values: ``(r, c)``.
        columns: ``(r,)``, global numbers; −1 for none.
    """

    def __init__(self, values: Tensor, columns: Int[Tensor, " r"]) -> None:
        super().__init__(values)
        self.columns = columns

    def _locate(self, start: int) -> tuple[Tensor, Tensor]:
        """Return where in the tile each row's column is, and whether it is in this tile at all; both ``(r, 1)``."""
        place, width = (self.columns - start)[:, None], self.tensors[0].shape[1]
        return place.clamp(0, width - 1), (place >= 0) & (place < width)

    def part(self, dim: Dim, start: int) -> State:
        place, here = self._locate(start)
        return [self.tensors[0].gather(1, place).masked_fill(~here, 0.0)[:, 0]]

    def cotangents(
        self, out: Sequence[Tensor], grad: Sequence[Tensor | None], dim: Dim, start: int
    ) -> list[Tensor]:
        return [self.add_to(torch.zeros_like(self.tensors[0]), grad, start)]

    def add_to(self, held: Tensor, grad: Sequence[Tensor | None], start: int) -> Tensor:
        """Add the gradient, one number a row, to what the values receive from elsewhere: in place unless a view."""
        assert grad[0] is not None
        place, here = self._locate(start)
        # A view is of other numbers as well, such as those that `Sum` spreads over its tile.
        own = held.clone() if held._is_view() else held
        return own.scatter_add_(1, place, grad[0][:, None] * here)

    def dense(self, dim: Dim) -> Tensor:
        return self.part(dim, 0)[0]


class WeightedMean(Reduction):
    """``sum_j softmax_j(weight_logits) · values``; 0 where every weight logit is −inf.

    Args:
        weight_logits: ``(r, c)``.
        values: ``(r, c)``, finite.
    """

    def __init__(self, weight_logits: Tensor, values: Tensor) -> None:
        self.tensors = (weight_logits, values)

    def init(self, n: int) -> State:
        like = self.tensors[0]
        return [like.new_full((n,), NEG), like.new_zeros(n), like.new_zeros(n)]

    def part(self, dim: Dim, start: int) -> State:
        logits, values = self.tensors
        maximum = logits.amax(dim)
        weights = exponential(logits, spread(finite(maximum), dim))
        return [maximum, weights.sum(dim), weights.mul_(values).sum(dim)]

    def merge(self, a: State, b: State) -> State:
        maximum = torch.maximum(a[0], b[0])
        safe = finite(maximum)
        p, q = (a[0] - safe).exp(), (b[0] - safe).exp()
        return [maximum, a[1] * p + b[1] * q, a[2] * p + b[2] * q]

    def finish(self, state: State) -> tuple[Tensor, ...]:
        maximum, weight, total = state
        # The total of no weight is 0 already; NaN is passed on.
        mean = total / weight.masked_fill(weight == 0, 1.0)
        return (mean, maximum + weight.log())  # the second is for `cotangents`: the weights' log-sum-exp

    def cotangents(
        self, out: Sequence[Tensor], grad: Sequence[Tensor | None], dim: Dim, start: int
    ) -> list[Tensor]:
        assert grad[0] is not None
        logits, values = self.tensors
        # ∂mean/∂logit_j = w_j (value_j − mean) and ∂mean/∂value_j = w_j, each times the gradient of the mean.
        weights = exponential(logits, spread(finite(out[1]), dim)).mul_(spread(grad[0], dim))
        return [weights * (values - spread(out[0], dim)), weights]

    def dense(self, dim: Dim) -> Tensor:
        logits, values = self.tensors
        maximum = finite(logits.detach().amax(dim))
        weights = (logits - spread(maximum, dim)).exp()
        total = weights.sum(dim)
        return (weights * values).sum(dim) / total.masked_fill(total == 0, 1.0)


class Top(NamedTuple):
    """The largest of each row: ``values (B, k)`` by falling key, and their global ``indices (B, k)``."""

    values: Tensor
    indices: Tensor


class TopK(Reduction):
    """The values at the k largest keys of each row (or column), as `Top`.

    The choice among equal keys is not defined.

    Args:
        keys: ``(r, c)``; they decide the order and carry gradient only where they are the values themselves.
        k: how many; at most the number of columns.
        values: ``(r, c)``, what to return; the keys unless stated.
    """

    def __init__(self, keys: Tensor, k: int, values: Tensor | None = None) -> None:
        self.k = k
        # The order has no gradient; a graph of the keys would be kept in vain.
        self.keys = keys.detach()
        self.tensors = (keys if values is None else values,)

    def init(self, n: int) -> State:
        like = self.tensors[0]
        return [
            self.keys.new_full((n, self.k), NEG),
            like.new_zeros(n, self.k),
            # No column: places that are never filled send their gradient to no tile.
            torch.full((n, self.k), -1, device=like.device),
        ]

    def _oriented(self, dim: Dim) -> tuple[Tensor, Tensor]:
        if dim == 1:
            return self.keys, self.tensors[0]
        if dim == 0:
            return self.keys.T, self.tensors[0].T
        raise ValueError("TopK is defined per row or per column, not in total")

    def part(self, dim: Dim, start: int) -> State:
        keys, values = self._oriented(dim)
        top, indices = keys.topk(
            min(self.k, keys.shape[1]), 1, sorted=False
        )  # put in order once, by `finish`
        return [top, values.detach().gather(1, indices), indices + start]

    def merge(self, a: State, b: State) -> State:
        top, order = torch.cat([a[0], b[0]], 1).topk(self.k, 1, sorted=False)
        return [top, torch.cat([a[1], b[1]], 1).gather(1, order), torch.cat([a[2], b[2]], 1).gather(1, order)]

    def finish(self, state: State) -> tuple[Tensor, ...]:
        # Merged parts are in no order. They are put in order in place, a few rows at a time: it takes k numbers a row.
        for keys, values, indices in zip(*(torch.split(t, 1024) for t in state), strict=True):
            order = keys.argsort(1, descending=True)
            values.copy_(values.gather(1, order))
            indices.copy_(indices.gather(1, order))
        return (state[1], state[2])

    def cotangents(
        self, out: Sequence[Tensor], grad: Sequence[Tensor | None], dim: Dim, start: int
    ) -> list[Tensor]:
        assert grad[0] is not None
        _, values = self._oriented(dim)
        columns = out[1] - start
        here = (columns >= 0) & (columns < values.shape[1])
        # Each tile serves what was taken from it; what lies elsewhere adds 0 at an index that exists.
        cotangent = torch.zeros_like(values)
        cotangent.scatter_add_(1, columns.clamp(0, values.shape[1] - 1), grad[0] * here)
        return [cotangent if dim == 1 else cotangent.T]

    def dense(self, dim: Dim) -> Top:
        keys, values = self._oriented(dim)
        indices = keys.topk(self.k, 1)[1]
        return Top(values.gather(1, indices), indices)

    @staticmethod
    def wrap(out: Sequence[Tensor]) -> Top:
        return Top(out[0], out[1])


class WholeRow(Reduction):
    """Any differentiable function of complete rows, or in total the sum of it.

    The engine then works in panels of rows with all columns at once, no larger than a tile or half of the rows' own
    tensors. Per row this is the way out for what no running state can hold. In total it is the fast way for a mean
    over anchors that are not candidates as well: a complete row has its gradient at once, and no tile is computed
    twice.

    Args:
        function: from the tensors below, complete in their columns, to one number per row ``(r,)``.
        tensors: ``(r, c)``.
    """

    def __init__(self, function: Callable[..., Tensor], *tensors: Tensor) -> None:
        self.function = function
        self.arguments = tensors
        self.tensors = tensors

    def evaluate(self) -> Tensor:
        return self.function(*self.arguments)

    def used(self) -> tuple[Tensor, ...]:
        return (self.evaluate(),)

    def init(self, n: int) -> State:
        return [self.arguments[0].new_zeros(n)]

    def part(self, dim: Dim, start: int) -> State:
        return [self.dense(dim)]

    def merge(self, a: State, b: State) -> State:
        return [a[0] + b[0]]

    def finish(self, state: State) -> tuple[Tensor, ...]:
        return (state[0],)

    def cotangents(
        self, out: Sequence[Tensor], grad: Sequence[Tensor | None], dim: Dim, start: int
    ) -> list[Tensor]:
        assert grad[0] is not None
        with torch.enable_grad():
            # The values in place of the arguments: from here to the inputs autograd differentiates the function itself.
            self.tensors = (self.evaluate(),)
        return [grad[0].expand_as(self.tensors[0])]

    def dense(self, dim: Dim) -> Tensor:
        values = self.evaluate()
        return values if dim == 1 else values.sum()
