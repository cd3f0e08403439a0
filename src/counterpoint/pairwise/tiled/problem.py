"""The problem that is solved in tiles: a declaration with its sizes, its tiles, and whose gradients are whose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..declaration import Key
from ..ranks import Ranks
from ..reductions import Reduction
from ..tile import Tile


@dataclass
class TileInputs:
    """A tile with the leaves its terms are computed from, in the order of the inputs."""

    tile: Tile
    leaves: list[Tensor]
    rows: slice
    columns: slice

    def within(self, per: str) -> slice:
        return {"row": self.rows, "column": self.columns, "total": slice(None)}[per]

    def start(self, per: str) -> int:
        """Return the global index of the first element along the reduced direction."""
        return self.tile.row_start if per == "column" else self.tile.column_start


@dataclass
class Problem:
    """One declaration with its sizes; rows are this rank's, columns everyone's."""

    terms: Callable[[Tile], Any]
    names: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    row_counts: list[int]
    column_counts: list[int]
    tile: tuple[int, int]
    ranks: Ranks
    differentiable: bool
    layout: dict[Key, tuple[type[Reduction], int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rank = self.ranks.rank
        self.n, self.m = self.row_counts[rank], sum(self.column_counts)
        # Global numbers, so that a tile knows its diagonal on every rank.
        self.row_start, self.column_start = sum(self.row_counts[:rank]), sum(self.column_counts[:rank])
        self.own_columns = slice(self.column_start, self.column_start + self.column_counts[rank])
        self.first_column = len(self.names[0])
        self.first_shared = self.first_column + len(self.names[1])

    def everyone(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the inputs with the columns of all ranks."""
        a, b = self.first_column, self.first_shared
        # Rows stay: each rank reduces its own against the columns of all.
        gathered = [self.ranks.gather(t, self.column_counts) for t in tensors[a:b]]
        return [*tensors[:a], *gathered, *tensors[b:]]

    def blocks(
        self,
        tensors: Sequence[Tensor],
        need: Sequence[bool],
        gradients: Sequence[Tensor | None] | None = None,
    ) -> Iterator[TileInputs]:
        """Yield all tiles, row by row; pieces of tensors that ``need`` a gradient are fresh leaves.

        Products add what they find straight to ``gradients`` where these are given.
        """
        a, b = self.first_column, self.first_shared
        height, width = self.tile
        # Detached: a tile's graph ends at its own pieces, and is freed with the tile.
        shared = [t.detach().requires_grad_(g) for t, g in zip(tensors[b:], need[b:], strict=True)]
        for i in range(0, self.n, height):
            rows = slice(i, min(i + height, self.n))
            row = [t[rows].detach().requires_grad_(g) for t, g in zip(tensors[:a], need[:a], strict=True)]
            for j in range(0, self.m, width):
                columns = slice(j, min(j + width, self.m))
                column = [
                    t[columns].detach().requires_grad_(g)
                    for t, g in zip(tensors[a:b], need[a:b], strict=True)
                ]
                leaves = [*row, *column, *shared]
                places = [rows] * a + [columns] * (b - a)
                sums = {
                    id(leaf): total[index]
                    for leaf, index, total in zip(leaves, places, gradients or (), strict=False)
                    if total is not None
                }
                tile = Tile(
                    dict(zip(self.names[0], row, strict=True)),
                    dict(zip(self.names[1], column, strict=True)),
                    dict(zip(self.names[2], shared, strict=True)),
                    i + self.row_start,
                    j,
                    sums,
                )
                yield TileInputs(tile, leaves, rows, columns)

    def whole_rows(self, rows: Sequence[Tensor]) -> None:
        """Turn tiles into panels that hold complete rows, of the same area or half that of the rows' own tensors."""
        height, width = self.tile
        wide = max(t[:1].numel() for t in rows)
        self.tile = (max(1, min(height, max(height * width // self.m, wide * self.n // 2 // self.m))), self.m)

    def accumulate(
        self,
        gradients: list[Tensor | None],
        block: TileInputs,
        outputs: Sequence[Tensor],
        cotangents: Sequence[Tensor | None],
    ) -> None:
        """Add one tile's vector-Jacobian product to the gradients of the inputs."""
        wanted = [(p, leaf) for p, leaf in enumerate(block.leaves) if leaf.requires_grad]
        # Not all are used: some inputs are only compared, and products have added theirs already.
        of_leaves = torch.autograd.grad(outputs, [leaf for _, leaf in wanted], cotangents, allow_unused=True)
        for (p, _), gradient in zip(wanted, of_leaves, strict=True):
            total = gradients[p]
            if gradient is None or total is None:
                continue
            if p < self.first_column:
                total[block.rows] += gradient
            elif p < self.first_shared:
                total[block.columns] += gradient
            else:
                total += gradient

    def own(self, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return the gradients, those of columns summed over ranks and cut to this rank's own."""
        result = list(gradients)
        for p in range(self.first_column, self.first_shared):
            gradient = result[p]
            # A column belongs to one rank and is met by all. Rows are met by their own alone, and the parts of shared
            # tensors add up where gradients of parameters do, in data-parallel training.
            if gradient is not None and self.ranks.size > 1:
                result[p] = self.ranks.total(gradient)[self.own_columns]
        return result

    def reduced_size(self, per: str) -> int:
        return {"row": self.n, "column": self.m, "total": 1}[per]
