"""What must hold of every registered objective, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import pytest
import torch
from memory_probe import LargestTensor, kept_bytes
from objective_cases import CASES, Case, Inputs, apply, flatten, leaves
from rank_pool import RankPool
from torch import Tensor

from counterpoint import objectives
from counterpoint.pairwise import Objective, evaluate_with

every = pytest.mark.parametrize("case", CASES, ids=str)
PAIRWISE = [case for case in CASES if case.build().pairwise]
every_pairwise = pytest.mark.parametrize("case", PAIRWISE, ids=str)


def test_every_registered_objective_has_a_case() -> None:
    assert {case.name for case in CASES} == set(objectives.names())


def value_and_gradients(objective: Objective, inputs: Inputs) -> tuple[Tensor, list[Tensor]]:
    inputs = leaves(inputs)
    wanted = [t for t in [*flatten(inputs), *objective.parameters()] if t.requires_grad]
    loss = objective(*inputs)
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return loss.detach(), [
        torch.zeros_like(t) if g is None else g for t, g in zip(wanted, found, strict=True)
    ]


def assert_same(a: tuple[Tensor, list[Tensor]], b: tuple[Tensor, list[Tensor]], rtol: float = 1e-10) -> None:
    for p, q in zip([a[0], *a[1]], [b[0], *b[1]], strict=True):
        assert float((p - q).norm()) <= rtol * max(float(q.norm()), 1e-3)


@every
def test_is_the_formula_of_its_card(case: Case) -> None:
    objective, inputs = case.build(), case.example()
    mine = value_and_gradients(objective, inputs)
    given = leaves(inputs)
    wanted = [t for t in [*flatten(given), *objective.parameters()] if t.requires_grad]
    loss = case.loops(objective, *given)
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    zeros = [torch.zeros_like(t) if g is None else g for t, g in zip(wanted, found, strict=True)]
    assert_same(mine, (loss.detach(), zeros))


@every_pairwise
@pytest.mark.parametrize("tile", [1, 4, (3, 5), (7, 2), 64], ids=str)
def test_tiles_do_not_change_value_or_gradients(case: Case, tile: Any) -> None:
    objective, inputs = case.build(), case.example()
    with evaluate_with("dense"):
        dense = value_and_gradients(objective, inputs)
    with evaluate_with("tiled", tile=tile):
        assert_same(value_and_gradients(objective, inputs), dense)


def job_on_ranks(rank: int, size: int, case_index: int, parameters: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Loss and rank-averaged gradients of a linear encoder and of the objective, on this rank's rows."""
    import torch.distributed as dist

    case = CASES[case_index]
    cuts = {1: [0, 11], 2: [0, 4, 11], 3: [0, 2, 8, 11]}[size]
    inputs = apply(case.example(n=11), lambda t: t[cuts[rank] : cuts[rank + 1]])
    loss, grads = encoded(case, inputs, tile=3)
    for grad in grads:
        dist.all_reduce(grad)
    return loss, *(grad / size for grad in grads)


def encoded(case: Case, inputs: Inputs, tile: int | None = None) -> tuple[Tensor, list[Tensor]]:
    """The loss of linearly encoded inputs, and its gradients in the encoder and the objective."""
    objective = case.build()
    if tile is not None:
        objective.evaluated("auto", tile=tile)
    weights: dict[int, Tensor] = {}

    def encode(t: Tensor) -> Tensor:
        if not t.is_floating_point():
            return t
        d = t.shape[1]
        if d not in weights:
            g = torch.Generator().manual_seed(d)
            weights[d] = torch.randn(d, d, generator=g, dtype=torch.float64).requires_grad_()
        z = t @ weights[d]
        return torch.nn.functional.normalize(z, dim=-1) if case.unit else z.tanh()

    loss = objective(*apply(inputs, encode))
    wanted = [*weights.values(), *objective.parameters()]
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return loss.detach(), [
        torch.zeros_like(t) if g is None else g for t, g in zip(wanted, found, strict=True)
    ]


@every
@pytest.mark.parametrize("size", [1, 2, 3])
def test_ranks_do_not_change_value_or_gradients(
    case: Case, size: int, rank_pool: Callable[[int], RankPool]
) -> None:
    alone = encoded(case, case.example(n=11))
    for loss, *grads in rank_pool(size).run(job_on_ranks, CASES.index(case), {}):
        assert_same((loss, grads), alone)


@every
def test_is_symmetric_where_it_says_so(case: Case) -> None:
    objective, inputs = case.build(), case.example()
    swapped = (inputs[1], inputs[0], *inputs[2:])
    same = torch.isclose(objective(*inputs), objective(*swapped), rtol=1e-12)
    if objective.symmetric:
        assert same
    elif case.label in ("", "convirt", "one_way"):
        # Settings of an asymmetric objective may happen to be symmetric; these are not.
        assert not same or case.name == "rocket"


@every
def test_order_of_the_batch_does_not_matter(case: Case) -> None:
    objective, inputs = case.build(), case.example()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    shuffled = apply(inputs, lambda t: t[order])
    torch.testing.assert_close(objective(*shuffled), objective(*inputs), rtol=1e-12, atol=1e-12)


@every
def test_gradients_are_those_of_finite_differences(case: Case) -> None:
    objective, inputs = case.build(), leaves(case.example(n=4, d=3))
    differentiable = [t for t in flatten(inputs) if t.requires_grad]
    if case.name in ("negative_cosine", "swalip", "swalip_prototypes"):
        pytest.skip("has stop-gradients: its gradient is not that of its value")

    def loss(*_: Tensor) -> Tensor:
        return objective(*inputs)

    with evaluate_with("tiled", tile=3):
        assert torch.autograd.gradcheck(loss, (*differentiable, *objective.parameters()))


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
def test_half_precision_is_reduced_in_float32(case: Case, dtype: torch.dtype, evaluator: Any) -> None:
    objective = case.build().float()
    inputs = apply(case.example(), lambda t: t.to(dtype) if t.is_floating_point() else t)
    raised = apply(inputs, lambda t: t.float() if t.is_floating_point() else t)
    with evaluate_with(evaluator, tile=3):
        half, half_grads = value_and_gradients(objective, inputs)
        single, grads = value_and_gradients(objective, raised)
    assert half.dtype == torch.float32
    assert torch.equal(half, single)
    for g, h in zip(grads, half_grads, strict=True):
        torch.testing.assert_close(h, g.to(h.dtype))


@every
@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
def test_autocast_changes_nothing(case: Case, evaluator: Any) -> None:
    objective = case.build().float()
    inputs = apply(case.example(), lambda t: t.float() if t.is_floating_point() else t)
    with evaluate_with(evaluator, tile=3):
        plain = value_and_gradients(objective, inputs)
        with torch.autocast("cpu", torch.bfloat16):
            cast = value_and_gradients(objective, inputs)
    assert torch.equal(plain[0], cast[0])
    assert all(torch.equal(p, q) for p, q in zip(plain[1], cast[1], strict=True))


@every
def test_a_batch_of_one_is_finite(case: Case) -> None:
    objective = case.build()
    inputs = case.example(n=1)
    if case.name in ("align_uniform", "contrastive_gap"):
        with pytest.warns(UserWarning, match="fewer than 2"):
            loss, grads = value_and_gradients(objective, inputs)
    else:
        loss, grads = value_and_gradients(objective, inputs)
    assert loss.isfinite()
    assert all(g.isfinite().all() for g in grads)


@every
def test_duplicates_are_ordinary(case: Case) -> None:
    inputs = apply(case.example(), lambda t: t[torch.tensor([0, 1, 2, 3, 4, 4, 4])])
    objective = case.build()
    torch.testing.assert_close(objective(*inputs), case.loops(objective, *inputs))


@every
def test_mismatched_batches_are_refused(case: Case) -> None:
    objective = case.build()
    inputs = case.example()
    first, *rest = inputs
    shorter = apply(first, lambda t: t[:-1])
    with pytest.raises(ValueError, match="row i of one must belong to row i of the other"):
        # Past the shape annotations, which tests enforce and users' processes do not.
        unwrap(type(objective).forward)(objective, shorter, *rest)


@every
def test_an_empty_batch_is_refused(case: Case) -> None:
    with pytest.raises(ValueError, match="must be"):
        case.build()(*apply(case.example(), lambda t: t[:0]))


@every_pairwise
def test_no_matrix_and_little_memory_under_tiles(case: Case) -> None:
    n, d, tile = 384, 8, 32
    objective, inputs = case.build(), leaves(case.example(n=n, d=d))
    kept, largest = [], LargestTensor()
    with evaluate_with("tiled", tile=tile), largest:
        with kept_bytes() as kept:
            loss = objective(*inputs)
        loss.backward()
    rows = 2 * n if case.name == "ntxent" else n
    assert largest.numel <= rows * (d + 2)
    calls = {"rocket": 5, "swalip": 4, "align_uniform": 2, "contrastive_gap": 4}.get(case.name, 1)
    # Per similarity matrix: a few copies of both sides and a few vectors, and never a tile.
    assert kept.bytes <= calls * 8 * rows * (6 * d + 16)


@every
def test_compiled_is_the_same(case: Case) -> None:
    if case.label:
        pytest.skip("one setting of each objective will do")
    objective, inputs = case.build(), case.example()
    with evaluate_with("tiled", tile=3):
        plain = value_and_gradients(objective, inputs)
        torch._dynamo.reset()
        compiled: Any = torch.compile(objective, backend="eager")
        given = leaves(inputs)
        loss = compiled(*given)
        wanted = [t for t in [*flatten(given), *objective.parameters()] if t.requires_grad]
        found = torch.autograd.grad(loss, wanted, allow_unused=True)
    zeros = [torch.zeros_like(t) if g is None else g for t, g in zip(wanted, found, strict=True)]
    assert_same((loss.detach(), zeros), plain)


@every
def test_facts_are_stated(case: Case) -> None:
    kind = type(case.build())
    assert kind.papers
    assert kind.__doc__
    assert "Source:" in kind.__doc__


def test_evaluator_and_tile_reach_nested_objectives() -> None:
    rocket = objectives.create("rocket", evaluator="tiled", tile=5)
    assert {(m.evaluator, m.tile) for m in rocket.modules() if isinstance(m, Objective)} == {("tiled", 5)}


def test_unknown_names_and_evaluators_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'infonce'"):
        objectives.create("infoncee")
    with pytest.raises(ValueError, match="evaluator must be one of"):
        unwrap(objectives.create)("infonce", evaluator="sparse")
