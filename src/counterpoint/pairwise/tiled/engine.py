"""Tiled evaluation, on one process or many: running states forward, each tile computed again backward.

Kept for the backward pass: the inputs and the reduced vectors, nothing of the size of the matrix. Four
shortcuts do not change the result: log-sum-exps of the same logits share one exponential; a single total
sum takes its gradients in the forward sweep (its cotangent is one number); so does a row's `LogSumExp` where
nothing else does and only rows need them (its cotangent is one number a row); complete rows are computed in
panels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch._compile import _disable_dynamo

from .. import guard
from ..declaration import Declared, Key, check_sizes, declared
from ..exponential import exponential
from ..ranks import Ranks
from ..reductions import DIMS, Gather, LogSumExp, Sum, WholeRow, finite
from ..tile import Tile
from . import fused
from .problem import Problem, TileInputs

PAPERS = {"inf-cl": ("run",)}


# It takes gradients inside an autograd function, tile by tile: that is not compiled, and what is around it is.
# `torch.compiler.disable` would import torch._dynamo with this module, which costs as much as torch itself.
@_disable_dynamo
def run(
    terms: Callable[[Tile], Any],
    rows: Mapping[str, Tensor],
    columns: Mapping[str, Tensor],
    shared: Mapping[str, Tensor],
    tile: tuple[int, int],
    ranks: Ranks,
) -> tuple[dict[str, dict[str, Any]], int]:
    """Return the results by direction and name, and how many columns each row met, those of all ranks."""
    tensors = [*rows.values(), *columns.values(), *shared.values()]
    row, column = next(iter(rows.values())), next(iter(columns.values()))
    problem = Problem(
        terms,
        (tuple(rows), tuple(columns), tuple(shared)),
        ranks.counts(len(row), row.device),
        ranks.counts(len(column), column.device),
        tile,
        ranks,
        # Asked here: within an autograd function gradients are off, whoever calls it.
        torch.is_grad_enabled() and any(t.requires_grad for t in tensors),
    )
    # A rank with columns that are the same everywhere is alone here, and may have no rows where others have.
    if not problem.m or (ranks.size > 1 and not sum(problem.row_counts)):
        raise ValueError(f"{'columns' if problem.n else 'rows'} must not be empty on all ranks")
    flat: Sequence[Tensor] = _Reduce.apply(problem, *tensors)  # type: ignore[no-untyped-call]
    results: dict[str, dict[str, Any]] = {}
    outputs = iter(flat)
    for (per, name), (kind, size) in problem.layout.items():
        out = [next(outputs) for _ in range(size)]
        results.setdefault(per, {})[name] = kind.wrap(out)
    return results, problem.m


class _Reduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: Problem, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.problem = problem
        # None in place of zeros where the loss does not use a result: its share of each tile is then left out.
        ctx.set_materialize_grads(False)
        everyone = problem.everyone(tensors)
        if everyone[0].device.type == "cpu":
            _keep_memory(math.prod(problem.tile))
        need = [bool(g) and problem.differentiable for g in ctx.needs_input_grad[1:]]
        reductions = _declaration(problem, everyone, need)
        sweep = _one_sweep_for(problem, reductions, need)
        ctx.one_sweep = sweep is not None
        if sweep is not None:
            reduced, gradients, ctx.learned = sweep(problem, reductions, everyone, need)
            ctx.save_for_backward(*gradients)
            # No other result depends on an input that needs a gradient, else another sweep had been chosen.
            ctx.mark_non_differentiable(*(t for k, t in enumerate(reduced) if k != ctx.learned))
            return tuple(reduced)
        results = _sweep(problem, reductions, everyone)
        ctx.inputs = len(tensors)
        ctx.save_for_backward(*everyone, *(t for result in results for t in result))
        out: list[Tensor] = []
        for (per, _), result in zip(problem.layout, results, strict=True):
            for t in result:
                local = t.reshape(()) if per == "total" else t[problem.own_columns] if per == "column" else t
                out.append(local if local is t else local.clone())
        # The indices of a top k.
        ctx.mark_non_differentiable(*(t for t in out if not t.is_floating_point()))
        return tuple(out)

    @staticmethod
    @guard.first_order('evaluate the loss densely, loss.evaluated("dense") or evaluate_with("dense")')
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        problem: Problem = ctx.problem
        need = [bool(g) for g in ctx.needs_input_grad[1:]]
        kept = ctx.saved_tensors  # read once: under torch.utils.checkpoint a second look is an error
        if ctx.one_sweep:
            grad, saved = grads[ctx.learned], iter(kept)
            if grad is None:
                return (None,) * (len(need) + 1)
            # The losses of all ranks depend on a total, and on a row's result that of its own rank alone.
            if grad.ndim == 0:
                grad = problem.ranks.total(grad)
            return (None, *(_scaled(next(saved), grad) if g else None for g in need))
        tensors, flat = list(kept[: ctx.inputs]), iter(kept[ctx.inputs :])
        incoming = iter(grads)
        results: dict[Key, list[Tensor]] = {}
        cotangents: dict[Key, list[Tensor | None]] = {}
        for key, (_, size) in problem.layout.items():
            results[key] = [next(flat) for _ in range(size)]
            cotangents[key] = [_everyones(problem, key[0], next(incoming)) for _ in range(size)]
        shared_exponential = fused.Backward(results, cotangents)
        gradients = _sums(tensors, need)
        # As in the forward pass: a tile that is computed again must be the same tile.
        with torch.autocast(tensors[0].device.type, enabled=False):
            for block in problem.blocks(tensors, need, gradients):
                with torch.enable_grad():
                    reductions = declared(problem.terms(block.tile))
                outputs = _tile_cotangents(reductions, block, results, cotangents, shared_exponential)
                if outputs:
                    problem.accumulate(gradients, block, *zip(*outputs.values(), strict=True))
        return (None, *problem.own(gradients))


@cache
def _keep_memory(pairs: int) -> None:
    """Let the memory of a tile be that of the next one.

    The C library gives back what is free at the end of its memory beyond twice the largest piece that was freed before,
    of pieces below 32 MiB. Where that was a tile, tiles came from the system anew, page by page, which took up to a
    sixth of all the time.
    """
    bytes(min(16 * pairs, 32_000_000))  # four tiles of float32, free at once: the largest piece from here on


def _declaration(problem: Problem, tensors: Sequence[Tensor], need: Sequence[bool]) -> Declared:
    """Return what the tiles reduce, read off a first row and checked; a rank without rows makes one up for that."""
    seen, counts = list(tensors), [max(count, 1) for count in problem.row_counts]
    if not problem.n:
        seen[: problem.first_column] = [t.new_zeros(1, *t.shape[1:]) for t in tensors[: problem.first_column]]

    def declare() -> tuple[TileInputs, Declared]:
        # One row tells as much as a tile, at a fraction of its products.
        block = next(replace(problem, row_counts=counts, tile=(1, problem.tile[1])).blocks(seen, need))
        return block, declared(problem.terms(block.tile))

    # The guard walks a graph, and within an autograd function none is recorded unless told so.
    with torch.set_grad_enabled(any(need)):
        block, reductions = declare()
        if any(isinstance(reduction, WholeRow) for _, _, reduction in reductions):
            problem.whole_rows(tensors[: problem.first_column])
            block, reductions = declare()
        if any(need):
            used = [t for _, _, reduction in reductions for t in reduction.used()]
            guard.check(problem.terms, used, block.leaves)
    check_sizes(reductions, sum(problem.row_counts), problem.m)
    return reductions


OneSweep: TypeAlias = Callable[
    [Problem, Declared, Sequence[Tensor], Sequence[bool]], tuple[list[Tensor], list[Tensor], int]
]
"""To the results, the gradients of the inputs that need one, and the place of the result that they are of."""


def _one_sweep_for(problem: Problem, reductions: Declared, need: Sequence[bool]) -> OneSweep | None:
    """Choose the sweep that takes gradients in the forward pass already; None where gradients cannot be taken there."""
    learned = [(per, type(r)) for per, _, r in reductions if any(t.requires_grad for t in r.tensors)]
    if len(reductions) == 1 and learned in ([("total", Sum)], [("total", WholeRow)]):
        return _total_sweep
    by_rows = not any(need[problem.first_column :]) and all(per == "row" for per, _, _ in reductions)
    return _row_sweep if learned == [("row", LogSumExp)] and by_rows else None


@torch.no_grad()
def _sweep(problem: Problem, reductions: Declared, tensors: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    """Compute the results over all tiles and ranks, in the order of the layout; of rows, this rank's."""
    last = {(per, name): reduction for per, name, reduction in reductions}
    states = {key: reduction.init(problem.reduced_size(key[0])) for key, reduction in last.items()}
    shared_exponential = fused.Forward(states, last)
    for block in problem.blocks(tensors, [False] * len(tensors)):
        reductions = declared(problem.terms(block.tile))
        for per, name, reduction in reductions:
            last[per, name] = reduction
        served = shared_exponential.add(reductions, block.within)
        for per, name, reduction in reductions:
            if (per, name) in served:
                continue
            part = reduction.part(DIMS[per], block.start(per))
            if per == "total":
                part = [t.reshape(1) for t in part]
            within, state = block.within(per), states[per, name]
            merged = reduction.merge([t[within] for t in state], part)
            for t, new in zip(state, merged, strict=True):
                t[within] = new
    shared_exponential.settle()
    results: list[tuple[Tensor, ...]] = []
    for (per, name), state in states.items():
        reduction = last[per, name]
        if per != "row" and problem.ranks.size > 1:
            # Merged in rank order, so that every rank has the same bits.
            parts = list(zip(*(problem.ranks.stack(t) for t in state), strict=True))
            state = list(parts[0])
            for other in parts[1:]:
                state = reduction.merge(state, list(other))
        result = reduction.finish(state)
        problem.layout[per, name] = (type(reduction), len(result))
        results.append(result)
    return results


def _total_sweep(
    problem: Problem, reductions: Declared, tensors: Sequence[Tensor], need: Sequence[bool]
) -> tuple[list[Tensor], list[Tensor], int]:
    """Compute a single total sum over all tiles and ranks, and its gradients."""
    gradients = _sums(tensors, need)
    total: Tensor | None = None
    ((per, name, reduction),) = reductions
    problem.layout[per, name] = (type(reduction), 1)
    for block in problem.blocks(tensors, need, gradients):
        with torch.enable_grad():
            ((_, _, reduction),) = declared(problem.terms(block.tile))
            values = reduction.evaluate() if isinstance(reduction, WholeRow) else reduction.tensors[0]
        part = values.detach().sum()
        total = part if total is None else total + part
        if values.requires_grad:
            # The gradient of the sum itself; what the loss makes of it is one factor, which comes in the backward pass.
            one = torch.ones((), dtype=values.dtype, device=values.device).expand_as(values)
            problem.accumulate(gradients, block, [values], [one])
    if total is None:  # a rank without rows
        total = reduction.tensors[0].new_zeros(())
    return [problem.ranks.total(total)], [g for g in problem.own(gradients) if g is not None], 0


def _row_sweep(
    problem: Problem, reductions: Declared, tensors: Sequence[Tensor], need: Sequence[bool]
) -> tuple[list[Tensor], list[Tensor], int]:
    """Compute a log-sum-exp of each row with its gradient in that row's tensors, and what needs none beside it.

    The gradient is the mean, by softmax weight, of the logits' gradients. It is kept as the sum is, as if divided
    by the exponential of the largest logit so far.
    """
    means = _sums(tensors, need)
    last = {(per, name): reduction for per, name, reduction in reductions}
    states = {key: reduction.init(problem.n) for key, reduction in last.items()}
    for block in problem.blocks(tensors, need, means):
        with torch.enable_grad():
            reductions = declared(problem.terms(block.tile))
        for per, name, reduction in reductions:
            key = (per, name)
            state, last[key] = states[key], reduction
            old = [t[block.rows] for t in state]
            if any(t.requires_grad for t in reduction.tensors):
                (logits,) = reduction.tensors
                maximum = torch.maximum(old[0], logits.detach().amax(1))
                weights = exponential(logits, finite(maximum)[:, None])
                merged = reduction.merge(old, [maximum, weights.sum(1)])
                before = (old[0] - finite(maximum)).exp()
                for mean in means:
                    if mean is not None:
                        mean[block.rows] = _scaled(mean[block.rows], before)
                problem.accumulate(means, block, [logits], [weights])
            else:
                with torch.no_grad():
                    merged = reduction.merge(old, reduction.part(DIMS[per], block.start(per)))
            for t, new in zip(state, merged, strict=True):
                t[block.rows] = new
    results: list[Tensor] = []
    first_mean = 0
    for key, state in states.items():
        result = last[key].finish(state)
        if any(t.requires_grad for t in last[key].tensors):
            first_mean = len(results)
            # Rows without any logit have a mean of 0, and keep it.
            share = state[1].masked_fill(state[1] == 0, 1.0).reciprocal()
        problem.layout[key] = (type(last[key]), len(result))
        results += result
    return results, [_scaled(mean, share) for mean in means if mean is not None], first_mean


def _sums(tensors: Sequence[Tensor], need: Sequence[bool]) -> list[Tensor | None]:
    """Return zeros to add gradients to, contiguous whatever the inputs are: products add to views of them."""
    contiguous = torch.contiguous_format
    return [
        torch.zeros_like(t, memory_format=contiguous) if g else None
        for t, g in zip(tensors, need, strict=True)
    ]


def _scaled(tensor: Tensor, by: Tensor) -> Tensor:
    """Return a tensor times one number, or each of its rows times a number of its own."""
    return tensor * by.view(-1, *(1,) * (tensor.ndim - 1)) if by.ndim else tensor * by


def _tile_cotangents(
    reductions: Declared,
    block: TileInputs,
    results: Mapping[Key, Sequence[Tensor]],
    cotangents: Mapping[Key, Sequence[Tensor | None]],
    shared_exponential: fused.Backward,
) -> dict[int, tuple[Tensor, Tensor]]:
    """Yield each of a tile's tensors and its gradient, summed over the reductions that read it."""
    outputs: dict[int, tuple[Tensor, Tensor]] = {}
    with torch.no_grad():
        served = shared_exponential.cotangents(reductions, block.within)
        for per, name, reduction in reductions:
            # Its products need not be computed: the loss does not use this result.
            if cotangents[per, name][0] is None:
                continue
            if (per, name) in served:
                pairs = served[per, name]
            else:
                within = block.within(per)
                out = [t.reshape(()) if per == "total" else t[within] for t in results[per, name]]
                grad = [
                    None if g is None else g.reshape(()) if per == "total" else g[within]
                    for g in cotangents[per, name]
                ]
                held = outputs.get(id(reduction.tensors[0]))
                if isinstance(reduction, Gather) and held is not None:
                    # No tile is made of one number a row: its memory would take longer than all else here.
                    outputs[id(held[0])] = (held[0], reduction.add_to(held[1], grad, block.start(per)))
                    continue
                of_inputs = reduction.cotangents(out, grad, DIMS[per], block.start(per))
                pairs = list(zip(reduction.tensors, of_inputs, strict=True))
            for tensor, cotangent in pairs:
                if not tensor.requires_grad:
                    continue
                # One pass through the tile's graph for all reductions of a tensor, not one each.
                held = outputs.get(id(tensor))
                outputs[id(tensor)] = (tensor, cotangent if held is None else held[1] + cotangent)
    return outputs


def _everyones(problem: Problem, per: str, grad: Tensor | None) -> Tensor | None:
    """Return the gradient of a result as all ranks' losses see it."""
    if grad is None or problem.ranks.size == 1:
        return grad
    if per == "column":
        # Each rank was given its own columns of the result, and every rank's tiles have a part in all.
        return problem.ranks.gather(grad, problem.column_counts)
    return problem.ranks.total(grad) if per == "total" else grad
