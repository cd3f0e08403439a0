"""Properties that must hold of every registered objective, whatever the objective is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from inspect import unwrap
from typing import Any

import pytest
import torch
from case_tools import Case, apply, call, flatten
from loss_cases import CASES
from memory_probe import LargestTensor, kept_bytes
from rank_jobs import (
    encoded,
    gradients,
    job_compiled,
    job_every_reduction,
    job_on_ranks,
    job_state,
    value_and_gradients,
)
from rank_pool import RankPool
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from counterpoint import losses
from counterpoint.pairwise import Loss, evaluate_with
from counterpoint.pairwise.guard import SecondDerivativeError
from counterpoint.pairwise.reduce import known
from fixtures.slow import on_ranks, slow

every = pytest.mark.parametrize("case", CASES, ids=str)
PAIRWISE = [case for case in CASES if case.build().pairwise]
every_pairwise = pytest.mark.parametrize("case", PAIRWISE, ids=str)


def test_every_registered_loss_has_a_case() -> None:
    assert {case.name for case in CASES} == set(losses.names())


def assert_same(a: tuple[Tensor, list[Tensor]], b: tuple[Tensor, list[Tensor]], rtol: float = 1e-10) -> None:
    for p, q in zip([a[0], *a[1]], [b[0], *b[1]], strict=True):
        assert float((p - q).norm()) <= rtol * max(float(q.norm()), 1e-3)


@every
def test_is_the_formula_of_its_card(case: Case) -> None:
    objective, inputs = case.build(), case.example()
    given = case.leaves(inputs)
    loops = gradients(call(partial(case.loops, objective), given), objective, given)
    assert_same(value_and_gradients(case, objective, inputs), loops)


def contiguous(t: Tensor) -> Tensor:
    return t


def turned(t: Tensor) -> Tensor:
    """The same numbers, the last axis outermost in memory: as of a convolution's map, or of sequences first."""
    axes = tuple(reversed(range(t.ndim)))
    return t.permute(axes).contiguous().permute(axes)


def spaced(t: Tensor) -> Tensor:
    """Return the same numbers, with other numbers between them."""
    return torch.stack([t, torch.zeros_like(t)], -1)[..., 0]


@every_pairwise
@pytest.mark.parametrize(
    ("tile", "layout"),
    [(4, turned), ((3, 5), spaced), *slow(((1, 3), contiguous), ((7, 2), contiguous), (64, turned))],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_neither_tiles_nor_strides_change_value_or_gradients(
    case: Case, tile: Any, layout: Callable[[Tensor], Tensor]
) -> None:
    objective, inputs = case.build(), case.example()
    with evaluate_with("dense"):
        dense = value_and_gradients(case, objective, inputs)
    leaves = case.leaves(inputs)
    with evaluate_with("tiled", tile=tile):
        loss = call(objective, case.each(leaves, layout))
    assert_same(gradients(loss, objective, leaves), dense)


@every_pairwise
def test_a_checkpoint_changes_nothing(case: Case) -> None:
    objective = case.build().evaluated("tiled", 4)
    inputs = case.example()
    plain = value_and_gradients(case, objective, inputs)
    given = case.leaves(inputs)
    loss = checkpoint(lambda: call(objective, given), use_reentrant=False)
    assert_same(gradients(loss, objective, given), plain)


@every_pairwise
def test_second_derivatives_are_right_or_refused(case: Case) -> None:
    objective, inputs = case.build(), case.leaves(case.example(n=3, d=2))
    wanted = [t for t in [*flatten(inputs), *objective.parameters()] if t.requires_grad]

    def curvature() -> tuple[Tensor, list[Tensor]]:
        loss = call(objective, inputs)
        first = torch.autograd.grad(loss, wanted, create_graph=True, allow_unused=True)
        return gradients(
            torch.stack([g.square().sum() for g in first if g is not None]).sum(), objective, inputs
        )

    dense = curvature()
    if not case.stop_gradient:
        assert torch.autograd.gradgradcheck(lambda *_: call(objective, inputs), wanted, fast_mode=True)
    objective.evaluated("tiled", 2)
    with suppress(SecondDerivativeError):  # not raised where what tiles found carries no gradient
        assert_same(curvature(), dense)


@every
@pytest.mark.parametrize("size", [2, *slow(1, 3)])
def test_ranks_do_not_change_value_or_gradients(
    case: Case, size: int, rank_pool: Callable[[int], RankPool]
) -> None:
    alone = encoded(case, case.example(n=11))
    for loss, *grads in rank_pool(size).run(job_on_ranks, CASES.index(case)):
        assert_same((loss, grads), alone)


@every
@pytest.mark.parametrize("cuts", [[0, 0, 11], *slow([0, 11, 11])], ids=str)
def test_a_rank_may_have_no_rows(case: Case, cuts: list[int], rank_pool: Callable[[int], RankPool]) -> None:
    alone = encoded(case, case.example(n=11))
    for loss, *grads in rank_pool(2).run(job_on_ranks, CASES.index(case), cuts):
        assert_same((loss, grads), alone)


@on_ranks
@pytest.mark.parametrize("case", [case for case in CASES if case.build().stateful], ids=str)
def test_ranks_end_with_the_state_of_one_process(
    case: Case, size: int, rank_pool: Callable[[int], RankPool]
) -> None:
    alone = job_state(0, 1, CASES.index(case))
    fresh = case.build().state_dict()
    assert any(alone[k].shape != v.shape or not torch.equal(alone[k], v) for k, v in fresh.items())
    for state in rank_pool(size).run(job_state, CASES.index(case)):
        for name, value in alone.items():
            torch.testing.assert_close(state[name], value, rtol=1e-10, atol=1e-12)


def swapped_gap(case: Case) -> float:
    """Return how much value and gradients change when the two sides change places."""
    objective, inputs = case.build(), case.leaves(case.example())
    plain, grads = gradients(call(objective, inputs), objective, inputs)
    other, swapped = gradients(call(objective, case.swap(inputs)), objective, inputs)
    pairs = zip([plain, *grads], [other, *swapped], strict=True)
    return max(float((p - q).norm() / p.norm().clamp_min(1e-3)) for p, q in pairs)


@pytest.mark.parametrize("size", [2, *slow(1, 3)])
def test_ranks_do_not_change_any_reduction(size: int, rank_pool: Callable[[int], RankPool]) -> None:
    alone = job_every_reduction(0, 1)
    assert len(alone[1]) == 3
    for result in rank_pool(size).run(job_every_reduction):
        assert_same(result, alone)


@pytest.mark.parametrize("name", losses.names())
def test_is_symmetric_exactly_where_it_says_so(name: str) -> None:
    gaps = [swapped_gap(case) for case in CASES if case.name == name]
    if type(losses.create(name)).symmetric:
        assert max(gaps) < 1e-12
    else:
        assert max(gaps) > 1e-3


@every
def test_order_of_the_batch_matters_exactly_where_it_says_so(case: Case) -> None:
    objective, inputs = case.build(), case.example()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    shuffled = case.each(inputs, lambda t: t[order])
    loss, other = call(objective, inputs), call(objective, shuffled)
    if objective.ordered:
        assert abs(loss - other) > 1e-3
    else:
        torch.testing.assert_close(other, loss, rtol=1e-12, atol=1e-12)


@every
def test_gradients_are_those_of_finite_differences(case: Case) -> None:
    objective, inputs = case.build(), case.leaves(case.example(n=3, d=2))
    differentiable = [t for t in flatten(inputs) if t.requires_grad]
    if case.stop_gradient:
        pytest.skip("has stop-gradients: its gradient is not that of its value")

    def loss(*_: Tensor) -> Tensor:
        return call(objective, inputs)

    # Along one random direction of all inputs: entry by entry, gradients were compared with those of loops above.
    with evaluate_with("tiled", tile=2):
        assert torch.autograd.gradcheck(loss, (*differentiable, *objective.parameters()), fast_mode=True)


@every
@pytest.mark.parametrize(
    ("dtype", "evaluator"),
    [
        (torch.bfloat16, "tiled"),
        (torch.float16, "dense"),
        *slow((torch.bfloat16, "dense"), (torch.float16, "tiled")),
    ],
    ids=str,
)
def test_half_precision_is_reduced_in_float32(case: Case, dtype: torch.dtype, evaluator: Any) -> None:
    objective = case.build().float()
    inputs = case.each(case.example(), lambda t: t.to(dtype) if t.is_floating_point() else t)
    raised = case.each(inputs, lambda t: t.float() if t.is_floating_point() else t)
    with evaluate_with(evaluator, tile=3):
        half, half_grads = value_and_gradients(case, objective, inputs)
        single, grads = value_and_gradients(case, objective, raised)
    assert half.dtype == torch.float32
    assert torch.equal(half, single)
    for g, h in zip(grads, half_grads, strict=True):
        torch.testing.assert_close(h, g.to(h.dtype))


@every
@pytest.mark.parametrize("evaluator", ["tiled", *slow("dense")])
def test_autocast_changes_nothing(case: Case, evaluator: Any) -> None:
    objective = case.build().float()
    inputs = case.each(case.example(), lambda t: t.float() if t.is_floating_point() else t)
    with evaluate_with(evaluator, tile=3):
        plain = value_and_gradients(case, objective, inputs)
        given = case.leaves(inputs)
        with torch.autocast("cpu", torch.bfloat16):
            loss = call(objective, given)
        cast = gradients(loss, objective, given)
    assert torch.equal(plain[0], cast[0])
    assert all(torch.equal(p, q) for p, q in zip(plain[1], cast[1], strict=True))


@every
def test_a_batch_of_one_is_finite(case: Case) -> None:
    objective = case.build()
    inputs = case.example(n=1)
    if case.alone:
        with pytest.warns(UserWarning, match=case.alone):
            loss, grads = value_and_gradients(case, objective, inputs)
    else:
        loss, grads = value_and_gradients(case, objective, inputs)
    assert loss.isfinite()
    assert all(g.isfinite().all() for g in grads)


@every
def test_duplicates_are_ordinary(case: Case) -> None:
    inputs = case.each(case.example(), lambda t: t[torch.tensor([0, 1, 2, 3, 4, 4, 4])])
    objective = case.build()
    torch.testing.assert_close(call(objective, inputs), call(partial(case.loops, objective), inputs))


@every
def test_mismatched_batches_are_refused(case: Case) -> None:
    objective = case.build()
    inputs = case.example()
    first, *rest = inputs
    shorter = apply(first, lambda t: t[:-1])
    with pytest.raises(ValueError, match="row i of one must belong to row i of the other"):
        # Past the shape annotations, which tests enforce and users' processes do not.
        call(partial(unwrap(type(objective).forward), objective), (shorter, *rest))


@every
def test_an_empty_batch_is_refused(case: Case) -> None:
    with pytest.raises(ValueError, match="must be"):
        call(case.build(), case.each(case.example(), lambda t: t[:0]))


@every_pairwise
def test_no_matrix_and_little_memory_under_tiles(case: Case) -> None:
    if not case.tileable:
        pytest.skip("forms a matrix of B × B, as its docstring says")
    n, d, tile = 256, 16, (64, 72)  # as large as n (d + 2): the fewer tiles, the faster
    objective, inputs = case.build(), case.leaves(case.example(n=n, d=d))
    largest = LargestTensor()
    with evaluate_with("tiled", tile=tile), largest:
        with kept_bytes() as kept:
            loss = call(objective, inputs)
        loss.backward()
    matrices, stacked = case.matrices
    rows = stacked * n
    assert largest.numel <= max(rows * (d + 2), case.cells * tile[0] * tile[1])
    # Per similarity matrix: a few copies of both sides and a few vectors, and never a tile.
    assert kept.bytes <= matrices * 8 * rows * (6 * d + 16)


@pytest.mark.parametrize(
    "label", ["infonce-clip", *slow("siglip", "align-uniform", "barlow-twins", "ntxent", "moco")]
)
def test_compiled_is_the_same(label: str, rank_pool: Callable[[int], RankPool]) -> None:
    # One of each road through the engine, as compiling is slow: row and column, a total sum, another total, moments,
    # complete rows in total, rows that alone learn.
    (index,) = (k for k, case in enumerate(CASES) if str(case) == label)
    plain, *compiled = rank_pool(1).run(job_compiled, index)[0]
    for result in compiled:
        assert_same(result, plain)


@every
def test_facts_are_stated(case: Case) -> None:
    kind = type(case.build())
    assert kind.papers
    assert kind.__doc__
    assert "Source:" in kind.__doc__


def test_evaluator_and_tile_reach_nested_losses() -> None:
    rocket = losses.create("rocket", evaluator="tiled", tile=5)
    assert {(m.evaluator, m.tile) for m in rocket.modules() if isinstance(m, Loss)} == {("tiled", 5)}


def test_unknown_names_and_evaluators_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'infonce'"):
        losses.create("infoncee")
    with pytest.raises(ValueError, match="evaluator must be one of"):
        known("sparse")
