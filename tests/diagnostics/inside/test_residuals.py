"""Additions of steps, against what goes past the steps: closed forms, the network's own equations, what has none."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from counterpoint.diagnostics.capture import Captured, Step, captured
from counterpoint.diagnostics.internals.ablations import ablated
from counterpoint.diagnostics.internals.cka import CKA
from counterpoint.diagnostics.internals.residuals import residuals
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.convnet import ConvNet
from counterpoint.networks.towers.transformer import VisionTransformer


def cloud(n: int = 60, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def look(entry: Tensor, *added: Tensor) -> Captured:
    """A tower whose steps add what is given."""
    states, now = [], entry
    for each in added:
        now = now + each
        states.append(now)
    kinds = ("attention", "mlp")
    steps = tuple(Step(k // 2, kinds[k % 2]) for k in range(len(added)))
    return Captured(steps, tuple(states), (), now.mean(1), (1, 3), entry)


def test_step_repeats_it_is_given_agrees_with_it_and_is_as_long() -> None:
    x = cloud()
    found = residuals([look(x, 0.5 * x, -3 * 1.5 * x)])
    torch.testing.assert_close(found.alignment, torch.ones(2, 2, dtype=torch.float64))
    assert found.ratio.tolist() == pytest.approx([2, 1 / 3])


def test_a_step_that_adds_something_new_does_not_agree() -> None:
    found = residuals([look(cloud(), cloud(seed=1))])
    assert abs(float(found.alignment)) < 0.15


def test_entries_are_cka_of_is_given_to_one_with_another_adds() -> None:
    x, a, b = cloud(), cloud(seed=1) + cloud(), cloud(seed=2)
    found = residuals([look(x, a, b)])
    for i, given in enumerate((x, x + a)):
        for j, added in enumerate((a, b)):
            expected = CKA().update([given], [added]).value()
            torch.testing.assert_close(found.alignment[i, j], expected[0, 0])


def test_ratios_are_averaged_over_examples_of_all_batches() -> None:
    x = cloud(12)
    scale = torch.arange(1, 13).double()[:, None, None]
    whole = residuals([look(x, x / scale)])
    parts = residuals([look(x[k : k + 6], (x / scale)[k : k + 6]) for k in (0, 6)])
    assert float(whole.ratio) == pytest.approx(6.5)
    assert float(parts.ratio) == pytest.approx(6.5)


def test_a_real_tower_and_a_step_that_is_cut_out() -> None:
    tower = VisionTransformer(size=16, patch=8, width=8, depth=1, heads=2)
    initialise(tower, 0)
    x = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = captured(tower, x)
    (before, first), (between, second) = whole.branches()
    torch.testing.assert_close(before, whole.entry)
    torch.testing.assert_close(before + first, between)
    torch.testing.assert_close(between + second, whole.states[-1])
    with ablated(tower, Step(0, "mlp")):
        found = residuals([captured(tower, x)])
    assert math.isinf(float(found.ratio[1]))
    assert torch.isnan(found.alignment[:, 1]).all()
    assert torch.isfinite(found.alignment[:, 0]).all()


def test_convolutions_and_no_batch_are_refused() -> None:
    tower = ConvNet(size=32, widths=(4, 8))
    initialise(tower, 0)
    with pytest.raises(ValueError, match="give a transformer"):
        residuals([captured(tower, torch.rand(4, 3, 32, 32))])
    with pytest.raises(ValueError, match="no batch"):
        residuals([])
