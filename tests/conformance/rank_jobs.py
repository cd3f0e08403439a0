"""Jobs of the conformance suite with an objective, in this process or on the ranks of a pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from case_tools import Case
from loss_cases import CASES
from torch import Tensor

from counterpoint.pairwise import (
    NEG,
    Gather,
    LogSumExp,
    ReductionResults,
    Sum,
    Tile,
    TopK,
    WeightedMean,
    WholeRow,
    moments,
)
from counterpoint.pairwise.ranks import Ranks
from counterpoint.pairwise.reduce import reduce
from counterpoint.testing._inputs import Inputs
from counterpoint.testing._loss import call, gradients, value_and_gradients


def job_on_ranks(
    rank: int, size: int, case_index: int, cuts: Sequence[int] | None = None
) -> tuple[Tensor, ...]:
    """Loss and rank-averaged gradients of a linear encoder and of the objective, on this rank's rows."""
    case = CASES[case_index]
    cuts = cuts or {1: [0, 11], 2: [0, 4, 11], 3: [0, 2, 8, 11]}[size]
    inputs = case.each(case.example(n=11), lambda t: t[cuts[rank] : cuts[rank + 1]])
    loss, grads = encoded(case, inputs, tile=3)
    for grad in grads:
        dist.all_reduce(grad)
    return loss, *(grad / size for grad in grads)


def job_state(rank: int, size: int, case_index: int) -> dict[str, Tensor]:
    """Return what a loss remembers after three optimizer steps on this rank's rows."""
    case = CASES[case_index]
    objective = case.build()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))])
    cuts = {1: [0, 11], 2: [0, 4, 11], 3: [0, 2, 8, 11]}[size]
    for seed in (0, 1, 0):
        whole = case.example(n=11, seed=seed)
        call(objective, case.each(whole, lambda t: t[cuts[rank] : cuts[rank + 1]]))
        optimizer.step()
    return {name: value.clone() for name, value in objective.state_dict().items()}


def encoded(case: Case, inputs: Inputs, tile: int | None = None) -> tuple[Tensor, list[Tensor]]:
    """The loss of linearly encoded inputs, and its gradients in the encoder and the objective."""
    objective = case.build()
    if tile is not None:
        objective.evaluated("auto", tile=tile)
    weights: dict[int, Tensor] = {}

    def encode(t: Tensor) -> Tensor:
        if not t.is_floating_point() or t.ndim < 2:
            return t
        d = t.shape[-1]
        if d not in weights:
            g = torch.Generator().manual_seed(d)
            weights[d] = torch.randn(d, d, generator=g, dtype=torch.float64).requires_grad_()
        z = t @ weights[d]
        return torch.nn.functional.normalize(z, dim=-1) if case.unit else z.tanh()

    loss = call(objective, case.each(inputs, encode))
    wanted = [*weights.values(), *objective.parameters()]
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return loss.detach(), [
        torch.zeros_like(t) if g is None else g for t, g in zip(wanted, found, strict=True)
    ]


def job_compiled(rank: int, size: int, case_index: int) -> list[tuple[Tensor, list[Tensor]]]:
    """Plain, and compiled with either evaluator (here, since run-time type checks cannot be compiled)."""
    case = CASES[case_index]
    objective, inputs = case.build(), case.example()
    results = [value_and_gradients(case, objective, inputs)]
    for evaluator in ("dense", "tiled"):
        torch._dynamo.reset()
        compiled: Any = torch.compile(objective.evaluated(evaluator, tile=3), backend="eager")
        given = case.leaves(inputs)
        results.append(gradients(call(compiled, given), objective, given))
    return results


def every_reduction(x: Tensor, y: Tensor, labels: Tensor, scale: Tensor, queue: Tensor) -> ReductionResults:
    """All reductions in all directions, on columns that outnumber the rows, in two stages."""

    def first(tile: Tile) -> Any:
        logits = tile.dot() * tile.scale
        same = tile.row.label[:, None] == tile.column.label[None]
        return {
            "row": {
                "all": LogSumExp(tile.off_diagonal(logits)),
                "same": WeightedMean(logits.masked_fill(~same, NEG), logits.square()),
                "top": TopK(logits, 3, logits.sin()),
                "at": Gather(logits, 3 * tile.row.label + 2),
            },
            "column": {"all": LogSumExp(logits), "top": TopK(logits, 2)},
            "total": {"all": LogSumExp(2 * logits), "sum": Sum(logits.tanh())},
        }

    a = reduce(
        first,
        rows={"z": x, "label": labels},
        columns={"z": y, "label": labels},
        shared={"scale": scale},
        tile=(3, 4),
    )

    def second(tile: Tile) -> Any:
        margin = tile.dot() - tile.row.all[:, None] + tile.column.all[None]
        return {"row": {"sorted": WholeRow(lambda s: s.sort(1).values[:, ::2].logsumexp(1), margin)}}

    b = reduce(second, rows={"z": x, "all": a.row.all}, columns={"z": y, "all": a.column.all}, tile=(3, 4))
    c = reduce(lambda t: {"row": {"queue": LogSumExp(t.dot())}}, rows={"z": x}, columns={"z": queue}, tile=3)
    a.row.sorted, a.row.queue = b.row.sorted, c.row.queue
    return a


class AllReductions(torch.nn.Module):
    """Two encoders and a scale, and an arbitrary loss of everything that can be reduced."""

    def __init__(self) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(3)
        self.a, self.b = (
            torch.nn.Parameter(torch.randn(4, 4, generator=g, dtype=torch.float64)) for _ in range(2)
        )
        self.scale = torch.nn.Parameter(torch.tensor(1.3, dtype=torch.float64))

    def forward(self, x: Tensor, y: Tensor, labels: Tensor, queue: Tensor) -> Tensor:
        r = every_reduction((x @ self.a).tanh(), (y @ self.b).tanh(), labels, self.scale, queue)
        anchors = r.row.all + r.row.same + r.row.top.values.sum(1) + r.row.at + r.row.sorted + r.row.queue
        columns = r.column.all.square() + r.column.top.values.prod(1)
        ranks = Ranks.present()
        rows = moments.mean(anchors + columns, ranks=ranks)
        return rows + r.total.all + r.total.sum.square()


def job_every_reduction(rank: int, size: int) -> tuple[Tensor, list[Tensor]]:
    """Under PyTorch's own data parallelism, on uneven parts of 11 rows and of a queue of 8."""
    g = torch.Generator().manual_seed(0)
    x, y, queue = (torch.randn(n, 4, generator=g, dtype=torch.float64) for n in (11, 11, 8))
    labels = torch.arange(11) % 3
    cuts = {1: [0, 11], 2: [0, 4, 11], 3: [0, 2, 8, 11]}[size]
    own, queued = slice(cuts[rank], cuts[rank + 1]), slice(8 * rank // size, 8 * (rank + 1) // size)
    model = AllReductions()
    parallel = torch.nn.parallel.DistributedDataParallel(model) if dist.is_initialized() else model
    loss = parallel(x[own], y[own], labels[own], queue[queued])
    loss.backward()
    return loss.detach(), [p.grad for p in model.parameters() if p.grad is not None]
