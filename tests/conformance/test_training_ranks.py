"""Training on several ranks is training on one: the same losses, the same parameters, written once."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rank_pool import RankPool
from torch import nn
from training_jobs import (
    STEPS,
    job_batch_norm,
    job_far_gradients,
    job_partial_gradients,
    job_run,
    job_wrong_loader,
)

from counterpoint.networks.batch_norm import BatchNorm1d
from counterpoint.training.saving import checkpoint as checkpoints
from fixtures.slow import on_ranks


@pytest.mark.parametrize(
    ("arm", "size", "microbatch"),
    [
        ("clip", 2, 0),
        ("byolip", 2, 3),
        ("moco,queue=40", 2, 3),
        ("swav,queue=40,frozen_steps=2", 2, 3),
        ("jigclu", 2, 3),
        ("dbot", 2, 3),
    ],
)
def test_a_run_on_ranks_is_the_run_of_one_process(
    arm: str, size: int, microbatch: int, rank_pool: Callable[[int], RankPool]
) -> None:
    losses, state = job_run(0, 1, arm, 0)
    assert len(losses) == STEPS
    for told, left in rank_pool(size).run(job_run, arm, microbatch):
        assert told == pytest.approx(losses, rel=1e-9)
        assert left.keys() == state.keys()
        for name, value in state.items():
            torch.testing.assert_close(left[name], value, rtol=1e-9, atol=1e-11, msg=name)


def test_batches_of_groups_are_the_same_on_ranks(rank_pool: Callable[[int], RankPool]) -> None:
    arm, steps, batch = "mcl,on=images,image=mlp,stages=2,clusters=2", 4, 8
    losses, state = job_run(0, 1, arm, 0, steps=steps, batch=batch)
    assert state["items.group"].max() == 1
    for told, left in rank_pool(2).run(job_run, arm, 0, None, "auto", steps, batch):
        assert told == pytest.approx(losses, rel=1e-9)
        for name, value in state.items():
            torch.testing.assert_close(left[name], value, rtol=1e-9, atol=1e-11, msg=name)


def test_only_the_first_rank_writes_and_all_go_on_from_there(
    tmp_path: Path, rank_pool: Callable[[int], RankPool]
) -> None:
    (losses, state), _ = rank_pool(2).run(job_run, "clip", 0, tmp_path)
    assert len(losses) == STEPS
    assert {path.name for path in tmp_path.iterdir()} >= {"metrics.parquet", "checkpoint"}
    saved = checkpoints.load(tmp_path / "checkpoint")
    assert saved is not None
    assert saved.step == STEPS
    for again, left in rank_pool(2).run(job_run, "clip", 0, tmp_path):
        assert len(again) == 1, "told where it stands, and then of no step"
        assert math.isnan(again[0])
        assert all(torch.equal(left[name], value) for name, value in state.items())


def test_a_loader_of_other_ranks_is_refused(rank_pool: Callable[[int], RankPool]) -> None:
    first, second = rank_pool(2).run(job_wrong_loader)
    assert "rank 0 of 1, but this process is rank 0 of 2" in first
    assert "give it rank=1, world=2" in second


def test_gradient_some_ranks_lack_counts_0_one_lack_stays_none(
    rank_pool: Callable[[int], RankPool],
) -> None:
    assert rank_pool(2).run(job_partial_gradients) == 2 * [[[0.5, 0.5], [0.5], None]]


def test_what_has_gradients_is_agreed_without_wait_for_device(
    rank_pool: Callable[[int], RankPool],
) -> None:
    assert rank_pool(2).run(job_far_gradients) == 2 * [[None]]


@pytest.mark.parametrize("affine", [True, False])
@on_ranks
def test_batch_norms_see_the_batch_of_all_ranks(
    size: int, affine: bool, rank_pool: Callable[[int], RankPool]
) -> None:
    out, gradient, state = job_batch_norm(0, 1, affine)
    found = rank_pool(size).run(job_batch_norm, affine)
    torch.testing.assert_close(torch.cat([part for part, _, _ in found]), out, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(torch.cat([g for _, g, _ in found]), gradient, rtol=1e-8, atol=1e-10)
    for _, _, other in found:
        assert other.keys() == state.keys()
        for name, value in state.items():
            torch.testing.assert_close(other[name], value, rtol=1e-9, atol=1e-12)


def test_on_one_process_a_batch_norm_is_pytorchs() -> None:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    ours, reference = BatchNorm1d(4), nn.BatchNorm1d(4)
    assert torch.equal(ours(x), reference(x))
    assert torch.equal(ours.eval()(x), reference.eval()(x))
    for name, value in reference.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)
