"""The momentum copy: exact start, exact average, own batch statistics, no gradient, no optimiser."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from counterpoint.networks import MomentumCopy


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_starts_exactly_equal_buffers_included() -> None:
    online = network()
    online(torch.randn(8, 4))
    slow = MomentumCopy(online)
    for k, v in online.state_dict().items():
        assert torch.equal(slow.module.state_dict()[k], v)


def test_one_and_two_steps_of_the_average() -> None:
    online = network().double()
    slow = MomentumCopy(online)
    path = [[p.detach().clone() for p in online.parameters()]]
    for _ in range(2):
        for p in online.parameters():
            p.data += torch.randn_like(p)
        path.append([p.detach().clone() for p in online.parameters()])
        slow.update()
    for p, zero, one, two in zip(slow.module.parameters(), *path, strict=True):
        assert torch.allclose(p, 0.99 * (0.99 * zero + 0.01 * one) + 0.01 * two, rtol=1e-12)


@pytest.mark.parametrize("m", [0.0, 1.0])
def test_limits(m: float) -> None:
    online = network()
    slow, start = MomentumCopy(online, m), copy.deepcopy(online)
    for p in online.parameters():
        p.data += 1
    slow.update()
    for p, q in zip(slow.module.parameters(), (online if m == 0 else start).parameters(), strict=True):
        assert torch.allclose(p, q)


def test_a_momentum_on_its_way_to_1_is_the_papers() -> None:
    online = nn.Linear(2, 1, bias=False)
    copy = MomentumCopy(online, 0.8, "cosine")
    start, end = copy.module.weight.clone(), torch.full((1, 2), 3.0)
    with torch.no_grad():
        online.weight.copy_(end)
    copy.update(0.25)
    tau = 1 - (1 - 0.8) * (math.cos(math.pi * 0.25) + 1) / 2
    torch.testing.assert_close(copy.module.weight, tau * start + (1 - tau) * end)
    held = copy.module.weight.clone()
    copy.update(1.0)
    torch.testing.assert_close(copy.module.weight, held)


def test_batch_statistics_are_its_own() -> None:
    online = network()
    slow = MomentumCopy(online)
    x, y = torch.randn(16, 4), 5 + torch.randn(16, 4)
    online(x)
    slow.update()
    assert slow.module[1].running_mean.eq(0).all(), "an update copies no statistics"
    slow(y)
    expected = 0.1 * slow.module[0](y).mean(0)
    assert torch.allclose(slow.module[1].running_mean, expected, atol=1e-6)
    assert not torch.allclose(slow.module[1].running_mean, online[1].running_mean, atol=0.1)


def test_mode_follows_the_parent() -> None:
    method = nn.ModuleDict({"online": network()})
    method["slow"] = MomentumCopy(method["online"])
    assert method.train()["slow"].module[1].training
    assert not method.eval()["slow"].module[1].training


def test_no_gradient_and_nothing_to_optimise() -> None:
    method = nn.ModuleDict({"online": network()})
    method["slow"] = MomentumCopy(method["online"])
    trained = {name for name, p in method.named_parameters() if p.requires_grad}
    assert trained == {f"online.{name}" for name, _ in method["online"].named_parameters()}
    assert not method["slow"](torch.randn(4, 4, requires_grad=True)).requires_grad


def test_the_followed_module_is_saved_once() -> None:
    slow = MomentumCopy(network())
    assert all(key.startswith("module.") for key in slow.state_dict())


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_the_whole_follow_their_own_module(again) -> None:  # type: ignore[no-untyped-def]
    method = nn.ModuleDict({"online": network()})
    method["slow"] = MomentumCopy(method["online"], m=0.0)
    other = again(method)
    other["online"][0].weight.data.fill_(3.0)
    other["slow"].update()
    assert other["slow"].module[0].weight.eq(3).all()
    assert not method["slow"].module[0].weight.eq(3).any()
