"""Steps of every registered method: in microbatches, on ranks, after a restart, and what they leave alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from caching_jobs import job_cached
from method_stubs import LATE, batch, build
from rank_pool import RankPool
from torch import Tensor

from counterpoint import methods
from counterpoint.networks.base import Tower
from counterpoint.training.step import caching
from counterpoint.types import Batch
from fixtures.slow import on_ranks

every = pytest.mark.parametrize("name", methods.names())


def step(method: Any, given: Batch, microbatch: int, seed: int = 0) -> float:
    """Compute gradients as the loop does, and let the method's state move on."""
    torch.manual_seed(seed)
    method.zero_grad(set_to_none=True)
    if microbatch:
        losses, z = caching.backward(method, given, LATE, microbatch)
    else:
        with torch.no_grad():
            z = method.targets(given)
        z |= method.encode(given)
        losses = method.losses(z, given, LATE)
        torch.stack(list(losses.values())).sum().backward()
    method.after_step({name: value.detach() for name, value in z.items()}, given, LATE)
    return float(torch.stack(list(losses.values())).sum().detach())


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}"
        )


def gradients(method: Any) -> dict[str, Tensor]:
    return {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


@every
def test_microbatches_change_neither_gradient_nor_state(name: str) -> None:
    whole = build(name).double().train()
    parts = copy.deepcopy(whole)
    given = batch(whole, 11, dtype=torch.float64)
    assert step(parts, given, 4) == pytest.approx(step(whole, given, 0), rel=1e-12)
    assert_close(gradients(parts), gradients(whole))
    assert_close(parts.state_dict(), whole.state_dict())


@every
@on_ranks
def test_ranks_change_no_gradient(name: str, size: int, rank_pool: Callable[[int], RankPool]) -> None:
    method = build(name).double().train()
    if method.draws:
        pytest.skip("what is drawn for an example depends on the rank that holds it")
    step(method, batch(method, 11, dtype=torch.float64), 0)
    for found in rank_pool(size).run(job_cached, name, 3):
        assert_close(found, gradients(method))


@every
def test_goes_on_from_saved_state_bit_exactly(name: str) -> None:
    def trained(method: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=0.01)

    whole, resumed = build(name).train(), build(name, seed=1).train()
    optimizer, other = trained(whole), trained(resumed)
    given = [batch(whole, 8, seed=seed) for seed in range(4)]
    for k in (0, 1):
        step(whole, given[k], 0, k)
        optimizer.step()
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for k in (2, 3):
        assert step(resumed, given[k], 0, k) == step(whole, given[k], 0, k)
        optimizer.step()
        other.step()
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


@every
def test_frozen_parts_stay_bit_for_bit(name: str) -> None:
    method = build(name).train()
    frozen = [m for m in method.modules() if isinstance(m, Tower) and m.frozen]
    before = [copy.deepcopy(module.state_dict()) for module in frozen]
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=0.1)
    step(method, batch(method, 8), 0)
    optimizer.step()
    for module, state in zip(frozen, before, strict=True):
        assert not module.training
        assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
