"""Choices, looks and stages of a method are the same on any ranks, in microbatches, and after a kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hook_jobs import BATCH, STEPS, hooked, hooked_recipe, job_hooked
from rank_pool import RankPool
from training_jobs import DoubleLoader

from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.training.loop import fit
from counterpoint.training.step.optim import RATE, learning_rate, optimizer_of
from counterpoint.training.step.stages import Course
from counterpoint.types import Stage, StepInfo
from fixtures.slow import slow
from fixtures.tiny import TinyData


@pytest.fixture(scope="module")
def whole() -> tuple[list[float], dict[str, torch.Tensor], list[int], list[str]]:
    return job_hooked(0, 1)


def test_stages_and_looks_come_when_they_are_due(whole: tuple) -> None:
    losses, _, looked, stages = whole
    assert len(losses) == STEPS
    assert looked == [0, 3, 6]
    assert stages == ["heads"] * 3 + ["all"] * 5


def test_it_equals_a_plain_loop_of_two_runs(whole: tuple) -> None:
    recipe, data = hooked_recipe(), TinyData()
    plain, o = hooked(recipe), hooked_recipe().optimizer
    loader = DoubleLoader(
        data,
        ShuffledOrder(data.splits.train, BATCH, 0),
        plain.views,
        augmentation=recipe.augmentation,
        inputs=plain.inputs,
    )
    # Looks and mixtures as the run has them: what is held against it is what moves, and how far.
    seen: list[tuple] = []
    told = hooked(recipe)
    losses = told.losses
    told.losses = lambda z, b, c: (seen.append((b, c, told.centre.clone())), losses(z, b, c))[1]  # type: ignore[method-assign,misc]
    fit(told, loader, recipe, accelerator="cpu")
    for names, first, end in ((("projections.",), 0, 3), (("",), 3, STEPS)):
        moving = {n: p for n, p in plain.named_parameters() if n.startswith(names)}
        factors = {
            n: 2.0 if n.startswith("towers.text.") else 0.5 if n.startswith("towers.") else 1.0
            for n in moving
        }
        groups = [
            {"params": [p], "weight_decay": o.weight_decay if p.ndim >= 2 else 0.0, "factor": factors[n]}
            for n, p in moving.items()
        ]
        optimizer = torch.optim.AdamW(groups, lr=o.lr, betas=(o.beta1, o.beta2), eps=o.eps)
        for step in range(first, end):
            batch, clock, plain.centre = seen[step]
            for group in optimizer.param_groups:
                group["lr"] = group["factor"] * learning_rate(step - first, end - first, o)
            plain.zero_grad()
            torch.stack(list(plain.losses(plain.encode(batch), batch, clock).values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(moving.values(), o.clip_norm or float("inf"))
            optimizer.step()
            plain.after_step({}, batch, clock)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(whole[1][name], value, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("until", [3, *slow(2, 4, 6)])
def test_run_goes_bit_exactly_inside_stage_between_two_before(
    until: int, tmp_path: Path, whole: tuple
) -> None:
    job_hooked(0, 1, folder=tmp_path, until=until)
    losses, state, looked, _ = job_hooked(0, 1, folder=tmp_path)
    assert losses[1:] == whole[0][until:], "the first is told of where it stands"
    assert looked == [step for step in (0, 3, 6) if step >= until]
    assert all(torch.equal(state[name], value) for name, value in whole[1].items())


@pytest.mark.parametrize("microbatch", [0, 3])
def test_ranks_and_microbatches_change_nothing(
    microbatch: int, whole: tuple, rank_pool: Callable[[int], RankPool]
) -> None:
    for losses, state, looked, stages in [
        job_hooked(0, 1, microbatch),
        *rank_pool(2).run(job_hooked, microbatch),
    ]:
        assert losses == pytest.approx(whole[0], rel=1e-9)
        assert (looked, stages) == whole[2:]
        for name, value in whole[1].items():
            torch.testing.assert_close(state[name], value, rtol=1e-8, atol=1e-10, msg=name)


def test_two_ranks_go_on_from_the_end_of_a_stage(
    tmp_path: Path, rank_pool: Callable[[int], RankPool]
) -> None:
    (losses, whole, *_), _ = rank_pool(2).run(job_hooked, 0)
    for until in (3, 4):
        folder = tmp_path / str(until)
        rank_pool(2).run(job_hooked, 0, folder, until)
        for again, state, *_ in rank_pool(2).run(job_hooked, 0, folder):
            assert again[1:] == losses[until:]
            assert all(torch.equal(state[name], value) for name, value in whole.items())


def test_a_factor_goes_with_the_longest_beginning() -> None:
    module = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "ab": torch.nn.Linear(2, 2)})
    optimizer = optimizer_of(module, hooked_recipe().optimizer, {"a": 0.5, "ab": 2.0})
    factors = {id(p): group[RATE] for group in optimizer.param_groups for p in group["params"]}
    assert [factors[id(p)] for p in module.parameters()] == [0.5, 0.5, 2.0, 2.0]
    with pytest.raises(ValueError, match="begins with 'c'"):
        optimizer_of(module, hooked_recipe().optimizer, {"c": 0.5})
    with pytest.raises(ValueError, match="the factor 0"):
        optimizer_of(module, hooked_recipe().optimizer, {"a": 0.0})


def test_a_stage_in_which_nothing_moves_is_refused() -> None:
    recipe = hooked_recipe()
    method = hooked(recipe)
    method.stages = (Stage("heads", 1), Stage("tails", 1, ("tails.",)))
    with pytest.raises(ValueError, match=r"its stage 'tails'.*'tails\.'"):
        Course(method, recipe, torch.device("cpu"), BATCH)
    with pytest.raises(ValueError, match="above 0"):
        Stage("heads", 0)


def test_looks_come_every_so_many_epochs_and_with_a_stage() -> None:
    recipe, data = hooked_recipe(), TinyData()
    order, method = ShuffledOrder(data.splits.train, BATCH, 0), hooked(hooked_recipe())

    def looks(every: int) -> list[int]:
        method.epoch_start_every = every
        course, found = Course(method, recipe, torch.device("cpu"), BATCH), []
        for step in range(STEPS):
            course.reach(step)
            if course.starts_epoch(order.clock(step, STEPS), order):
                found.append(step)
        return found

    assert looks(0) == []
    assert looks(2) == [0, 3, 6], "the second stage begins with the second epoch"
    method.stages = ()
    assert looks(2) == [0, 6]
    assert StepInfo(0, 1).stage == ""
