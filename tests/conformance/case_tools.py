"""Tools for the cases of losses: how to build one, what to feed it, and loops over single numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.pairwise import Temperature
from counterpoint.testing import LossCase
from counterpoint.testing._inputs import Inputs


@dataclass(frozen=True)
class Case(LossCase):
    """A setting of a registered loss with its formula; its matrices, warnings and gradients are known."""

    stop_gradient: bool | None = False
    alone: str | None = ""
    matrices: tuple[int, float] | None = (1, 1)


def unit(g: torch.Generator, n: int, d: int) -> Tensor:
    return F.normalize(torch.randn(n, d, generator=g, dtype=torch.float64), dim=-1)


def two(g: torch.Generator, n: int, d: int) -> Inputs:
    return unit(g, n, d), unit(g, n, d)


def views(count: int) -> Callable[[torch.Generator, int, int], Inputs]:
    return lambda g, n, d: tuple(unit(g, n, d) for _ in range(count))


def two_with_ids(g: torch.Generator, n: int, d: int) -> Inputs:
    return unit(g, n, d), unit(g, n, d), torch.randint(0, 4, (n,), generator=g)


def global_and_local(g: torch.Generator, n: int, d: int) -> Inputs:
    return *two(g, n, d), list(two(g, n, d + 1)), list(two(g, n, d + 1))


def two_by_two(g: torch.Generator, n: int, d: int) -> Inputs:
    return list(two(g, n, d)), list(two(g, n, d))


def raw(g: torch.Generator, n: int, d: int) -> Inputs:
    return tuple(torch.randn(n, d, generator=g, dtype=torch.float64) for _ in range(2))


def cosines(g: torch.Generator, n: int, d: int) -> Inputs:
    return tuple(torch.rand(n, d + 3, generator=g, dtype=torch.float64) * 2 - 1 for _ in range(2))


def total(terms: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()


def average(terms: Sequence[Tensor]) -> Tensor:
    return total(terms) / len(terms)


def inverse(temperature: Temperature) -> Tensor:
    """Return 1/τ as the definition of the parameter says."""
    if temperature.parameter is None:
        return torch.tensor(1 / temperature.init, dtype=torch.float64)
    return temperature.parameter.exp()


def cross_entropy(row: Sequence[Tensor], target: int, smoothing: float = 0.0) -> Tensor:
    log_z = total([s.exp() for s in row]).log()
    logs = [s - log_z for s in row]
    return -(1 - smoothing) * logs[target] - smoothing * average(logs)


def scores(x: Tensor, y: Tensor, scale: Tensor | float = 1.0) -> list[list[Tensor]]:
    return [[scale * total(list(a * b)) for b in y] for a in x]


def transposed(matrix: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
    return [list(column) for column in zip(*matrix, strict=True)]


def infonce(
    x: Tensor, y: Tensor, scale: Tensor, forth: float = 0.5, back: float = 0.5, smoothing: float = 0.0
) -> Tensor:
    s = scores(x, y, scale)
    rows = average([cross_entropy(row, i, smoothing) for i, row in enumerate(s)])
    columns = average([cross_entropy(column, i, smoothing) for i, column in enumerate(transposed(s))])
    return forth * rows + back * columns


def warm() -> Temperature:
    return Temperature(0.3)
