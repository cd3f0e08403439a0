"""Tools for the cases of losses: how to build one, what to feed it, and loops over single numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint import losses
from counterpoint.pairwise import Loss, Temperature

Inputs = tuple[Any, ...]


@dataclass(frozen=True)
class Case:
    """One setting of one registered objective.

    Attributes:
        name: of the objective.
        loops: the card's formula in plain loops, called as the loss is, with the loss before.
        inputs: from a generator, B and d to what the loss is called with; a dictionary at the end holds
            keywords.
        options: of the loss; callables are called anew for every loss built.
        label: tells several cases of a loss apart.
        unit: whether the embeddings lie on the sphere.
        fixed: the positions of inputs that are not of the batch: the same on every rank, without gradient.
        stop_gradient: the gradient is not that of the value.
        alone: how the warning at a batch of one begins.
        matrices: how many similarity matrices there are, and how many rows each has per example.
        cells: how many similarities make one entry of such a matrix.
        tileable: whether it does without a matrix of B × B, as the loss says of itself.
        swap: what changes places where the two sides do; the first two inputs unless given.
    """

    name: str
    loops: Callable[..., Tensor]
    inputs: Callable[[torch.Generator, int, int], Inputs]
    options: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    unit: bool = True
    fixed: tuple[int, ...] = ()
    stop_gradient: bool = False
    alone: str = ""
    matrices: tuple[int, float] = (1, 1)
    cells: int = 1
    tileable: bool = True
    swap: Callable[[Inputs], Inputs] = lambda inputs: (inputs[1], inputs[0], *inputs[2:])

    def __str__(self) -> str:
        return f"{self.name}-{self.label}" if self.label else self.name

    def build(self) -> Loss:
        """The loss in float64, its own copy of any temperature, its weights the same in every process."""
        options = {k: v() if callable(v) else v for k, v in self.options.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return losses.create(self.name, **options).double()

    def example(self, n: int = 7, d: int = 5, seed: int = 0) -> Inputs:
        return self.inputs(torch.Generator().manual_seed(seed), n, d)

    def each(self, inputs: Inputs, function: Callable[[Tensor], Tensor]) -> Inputs:
        """Apply ``function`` to every tensor of the batch."""
        return tuple(v if k in self.fixed else apply(v, function) for k, v in enumerate(inputs))

    def leaves(self, inputs: Inputs) -> Inputs:
        """Return fresh copies, those of the batch differentiable."""
        return self.each(inputs, lambda t: t.clone().requires_grad_() if t.is_floating_point() else t)


def call(function: Callable[..., Tensor], inputs: Inputs) -> Tensor:
    """``function`` of the inputs, of which a dictionary at the end holds keywords."""
    if inputs and isinstance(inputs[-1], dict):
        return function(*inputs[:-1], **inputs[-1])
    return function(*inputs)


def apply(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply ``function`` to every tensor in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {name: apply(item, function) for name, item in value.items()}
    return type(value)(apply(item, function) for item in value)


def flatten(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for item in (value.values() if isinstance(value, dict) else value) for t in flatten(item)]


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
