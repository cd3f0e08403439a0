"""Properties of every registered loss: those of `counterpoint.testing`, its formula, and those on several ranks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from case_tools import Case
from conformance_tools import run_all
from loss_cases import CASES
from rank_jobs import encoded, job_compiled, job_every_reduction, job_on_ranks, job_state
from rank_pool import RankPool

from counterpoint import losses
from counterpoint.pairwise import Loss
from counterpoint.pairwise.reduce import known
from counterpoint.testing import Checks, loss_checks
from counterpoint.testing._checks import expect, expect_close, same
from counterpoint.testing._loss import expect_same, swapped_difference
from fixtures.slow import slow

every = pytest.mark.parametrize("name", losses.names())


def cases_of(name: str) -> list[Case]:
    return [case for case in CASES if case.name == name]


def test_every_registered_loss_has_a_case() -> None:
    assert {case.name for case in CASES} == set(losses.names())


@every
@pytest.mark.parametrize("thorough", [False, *slow(True)])
def test_conforms(name: str, thorough: bool) -> None:
    run_all(name, ((str(case), loss_checks(case, thorough=thorough)) for case in cases_of(name)))


@every
def test_states_its_papers_and_its_symmetry(name: str) -> None:
    loss = losses.LOSSES.get(name)
    assert loss.papers
    assert "Source:" in (loss.__doc__ or "")
    # That a symmetric one is symmetric is a property of each case.
    assert loss.symmetric or max(map(swapped_difference, cases_of(name))) > 1e-3


def rank_checks(case: Case, pool: RankPool, size: int, thorough: bool) -> Checks:
    index, alone = CASES.index(case), encoded(case, case.example(n=11))
    uneven = {"ranks of different sizes": None}
    empty = {f"rows {cuts}": cuts for cuts in ([0, 0, 11], [0, 11, 11])[: 2 if thorough else 1]}

    def agree(cuts: list[int] | None) -> None:
        for loss, *grads in pool.run(job_on_ranks, index, cuts):
            expect_same((loss, grads), alone, "the value and gradients of one process")

    def state() -> None:
        one = job_state(0, 1, index)
        fresh = case.build().state_dict()
        expect(
            any(not same(one[k], v) for k, v in fresh.items()), "state that moves", "the state of the start"
        )
        for of_rank in pool.run(job_state, index):
            for name, value in one.items():
                expect_close(of_rank[name], value, f"{name} of one process", rtol=1e-10, atol=1e-12)

    for name, cuts in (uneven | (empty if size == 2 else {})).items():
        yield f"{size} ranks, {name}", partial(agree, cuts)
    if case.build().stateful and size > 1:
        yield f"state of {size} ranks", state


@every
@pytest.mark.parametrize("size", [2, *slow(1, 3)])
def test_ranks_change_nothing(name: str, size: int, rank_pool: Callable[[int], RankPool]) -> None:
    run_all(name, ((str(case), rank_checks(case, rank_pool(size), size, False)) for case in cases_of(name)))


@pytest.mark.slow
@every
def test_each_of_two_ranks_may_have_no_rows(name: str, rank_pool: Callable[[int], RankPool]) -> None:
    run_all(name, ((str(case), rank_checks(case, rank_pool(2), 2, True)) for case in cases_of(name)))


@pytest.mark.parametrize("size", [2, *slow(1, 3)])
def test_ranks_do_not_change_any_reduction(size: int, rank_pool: Callable[[int], RankPool]) -> None:
    alone = job_every_reduction(0, 1)
    assert len(alone[1]) == 3
    for result in rank_pool(size).run(job_every_reduction):
        expect_same(result, alone, "the value and gradients of one process")


@pytest.mark.parametrize(
    "label", ["infonce-clip", *slow("siglip", "align-uniform", "barlow-twins", "ntxent", "moco")]
)
def test_compiled_is_the_same(label: str, rank_pool: Callable[[int], RankPool]) -> None:
    # One of each way through the engine, as compiling is slow: row and column, a total sum, another total, moments,
    # complete rows in total, rows that alone learn.
    (index,) = (k for k, case in enumerate(CASES) if str(case) == label)
    plain, *compiled = rank_pool(1).run(job_compiled, index)[0]
    for result in compiled:
        expect_same(result, plain, "value and gradients without torch.compile")


def test_evaluator_and_tile_reach_nested_losses() -> None:
    rocket = losses.create("rocket", evaluator="tiled", tile=5)
    assert {(m.evaluator, m.tile) for m in rocket.modules() if isinstance(m, Loss)} == {("tiled", 5)}


def test_unknown_names_and_evaluators_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'infonce'"):
        losses.create("infoncee")
    with pytest.raises(ValueError, match="evaluator must be one of"):
        known("sparse")
