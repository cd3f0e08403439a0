"""One tile of the similarity matrix, as a loss sees it."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from . import guard, recording

PAPERS = {"crl-framework": ("Tile",)}

NEG = float("-inf")
"""The logit of a pair that takes no part: its exponential and gradient are exactly 0, however low the others are."""


class Tile:
    """A block of rows × columns, with whatever was named beside them.

    Attributes:
        row: the row tensors by name, each ``(r, ...)``: ``tile.row.z``.
        column: the column tensors by name, each ``(c, ...)``.
        shape: ``(r, c)``.
        row_start: the global index of the first row.
        column_start: the global index of the first column.

    Shared tensors are attributes of the tile itself: ``tile.bias``.
    """

    row: SimpleNamespace
    column: SimpleNamespace

    def __init__(
        self,
        rows: Mapping[str, Tensor],
        columns: Mapping[str, Tensor],
        shared: Mapping[str, Tensor],
        row_start: int = 0,
        column_start: int = 0,
        sums: Mapping[int, Tensor] | None = None,
    ) -> None:
        self._sums = sums or {}
        self.row = SimpleNamespace(**rows)
        self.column = SimpleNamespace(**columns)
        self._shared = shared
        self._device = next(iter(rows.values())).device
        self.row_start = row_start
        self.column_start = column_start
        self.shape = (len(next(iter(rows.values()))), len(next(iter(columns.values()))))

    def __getattr__(self, name: str) -> Tensor:
        # Not self._shared: a copy that has none yet would ask here for it, for ever.
        shared: Mapping[str, Tensor] = self.__dict__.get("_shared", {})
        if name in shared:
            return shared[name]
        raise AttributeError(f"this tile has no {name!r}; shared tensors: {', '.join(shared) or 'none'}")

    @property
    def i(self) -> Tensor:
        """Global row indices, ``(r, 1)``."""
        return torch.arange(self.row_start, self.row_start + self.shape[0], device=self._device)[:, None]

    @property
    def j(self) -> Tensor:
        """Global column indices, ``(1, c)``."""
        return torch.arange(self.column_start, self.column_start + self.shape[1], device=self._device)[None]

    def dot(self, row: str = "z", column: str | None = None) -> Tensor:
        """Return inner products ``(r, c)`` of a row tensor with a column tensor (of the same name unless stated).

        For bags of vectors, ``(r, N, d)`` and ``(c, M, d)``, all with all: ``(r, c, N, M)``.
        """
        left: Tensor = getattr(self.row, row)
        right: Tensor = getattr(self.column, column or row)
        sums = self._sums.get(id(left)), self._sums.get(id(right))
        if left.ndim == 3:
            bags = [
                None if t is None else t.view(-1, t.shape[-1]) for t in sums
            ]  # a copy would lose what is added
            product = _product(left.flatten(0, 1), right.flatten(0, 1), *bags)
            return product.view(*left.shape[:2], *right.shape[:2]).transpose(1, 2)
        return recording.matrix(_product(left, right, *sums), left, right)

    def squared_distance(self, row: str = "z", column: str | None = None) -> Tensor:
        """Return squared Euclidean distances ``(r, c)``."""
        left: Tensor = getattr(self.row, row)
        right: Tensor = getattr(self.column, column or row)
        # ‖x − y‖² = ‖x‖² − 2 <x, y> + ‖y‖², since the differences themselves would be (r, c, d).
        inner = torch.addmm(right.square().sum(1)[None], left, right.T, alpha=-2)
        return recording.matrix(inner + left.square().sum(1)[:, None], left, right, -1)

    def same(self, name: str) -> Tensor:
        """Compare rows and columns in the tensor of this name, ``(r, c)``: True where ids, labels or groups agree."""
        row: Tensor = getattr(self.row, name)
        column: Tensor = getattr(self.column, name)
        return row[:, None] == column[None]

    @property
    def on_diagonal(self) -> bool:
        """Tell whether some pair of this tile has equal row and column index."""
        r, c = self.shape
        return self.row_start < self.column_start + c and self.column_start < self.row_start + r

    def off_diagonal(self, values: Tensor, fill: float = NEG) -> Tensor:
        """Return ``values`` with ``fill`` where row and column are the same item."""
        # Few tiles touch the diagonal, and a mask costs a pass over the tile.
        return values.masked_fill(self.i == self.j, fill) if self.on_diagonal else values


def _product(left: Tensor, right: Tensor, left_sum: Tensor | None, right_sum: Tensor | None) -> Tensor:
    if left_sum is None and right_sum is None:
        return left @ right.T
    return _Product.apply(left, right, left_sum, right_sum)  # type: ignore[no-untyped-call] # torch's


class _Product(torch.autograd.Function):
    """``left @ right.T``, whose backward pass adds straight to the sums of gradients over all tiles.

    A tile's gradient would else be a new ``(r, d)`` tensor, read once to be added: more memory and more time.
    """

    @staticmethod
    def forward(
        ctx: Any, left: Tensor, right: Tensor, left_sum: Tensor | None, right_sum: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(left, right)
        ctx.sums = left_sum, right_sum
        return left @ right.T

    @staticmethod
    @guard.first_order("evaluate the loss densely")
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        left, right = ctx.saved_tensors
        gradients: list[Tensor | None] = [None, None]
        for side, (factor, other) in enumerate(((grad, right), (grad.T, left))):
            if not ctx.needs_input_grad[side]:
                continue
            total = ctx.sums[side]
            if total is None:
                gradients[side] = factor @ other
            else:
                total.addmm_(factor, other)
        return gradients[0], gradients[1], None, None
