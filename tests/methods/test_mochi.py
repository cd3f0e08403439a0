"""MoCHi: when it mixes, and that it is MoCo otherwise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from method_stubs import LATE, batch, build, total

from counterpoint.types import Batch, StepInfo

EARLY = StepInfo(10, 2000)


def filled(name: str = "mochi", **options: Any) -> tuple[Any, Batch]:
    """A method whose queue holds keys of other pictures, and a batch."""
    method = build(name, queue=16, **options)
    given = batch(method, 8)
    for seed in (5, 6):
        other = batch(method, 8, seed=seed)
        method.after_step(method.targets(other), Batch(other.ids + 100, other.views), LATE)
    return method, given


def test_mixes_once_the_queue_is_full_and_the_warm_up_over() -> None:
    (method, given), (plain, _) = filled(), filled("moco")
    expected = total(plain, given)
    assert total(method, given) > expected
    assert total(method, given, EARLY) == expected
    method.queue.filled.fill_(15)
    assert total(method, given) == expected


@pytest.mark.parametrize("options", [{"pairs": 0}, {"with_query": 0}], ids=str)
def test_each_kind_of_mixture_can_be_left_out(options: dict[str, Any]) -> None:
    method, given = filled(**options)
    assert total(method, given) > total(filled("moco")[0], given)


def test_draws_anew_every_step_from_torchs_generator() -> None:
    method, given = filled()
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(float(total(method, given).detach()))
    assert losses[0] == losses[1] != losses[2]


def test_only_queries_get_a_gradient_and_mixtures_are_not_kept() -> None:
    method, given = filled()
    before = method.queue.keys.clone()
    total(method, given).backward()
    assert all(p.grad is not None for p in method.projection.parameters())
    assert all(p.grad is None for p in method.momentum.parameters())
    assert torch.equal(method.queue.keys, before)


def test_n_is_at_most_the_queue() -> None:
    assert build("mochi", queue=16, hardest=1000).hardest == 16
    assert build("mochi").hardest == 64
