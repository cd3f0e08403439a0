from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.diagnostics import hardness
from counterpoint.losses import InfoNCELoss
from counterpoint.pairwise import evaluate_with


def cloud(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shares(x: Tensor, y: Tensor, tau: float) -> list[list[float]]:
    """r_ij by loops, from the definition."""
    x, y = F.normalize(x, dim=1), F.normalize(y, dim=1)
    found = []
    for i in range(len(x)):
        weights = [math.exp(float(x[i] @ y[j]) / tau) for j in range(len(y)) if j != i]
        found.append([w / sum(weights) for w in weights])
    return found


@pytest.mark.parametrize("tau", [0.05, 0.3, 1.0])
def test_equals_loops_and_does_not_depend_on_tiles(tau: float) -> None:
    x, y = cloud(23, 4, 0), cloud(23, 4, 1)
    rows = shares(x, y, tau)
    entropies = [-sum(p * math.log(p) for p in row) for row in rows]
    with evaluate_with("tiled", tile=5):
        found = hardness(3 * x, y, [tau], fraction=0.1)
    assert found.entropy[0] == pytest.approx(sum(entropies) / 23)
    assert found.effective[0] == pytest.approx(sum(map(math.exp, entropies)) / 23)
    assert found.hardest[0] == pytest.approx(sum(sum(sorted(row)[-3:]) for row in rows) / 23)
    assert hardness(x, y, [tau], fraction=0.1).entropy == pytest.approx(found.entropy)


def test_shares_and_push_are_the_gradients_of_infonce() -> None:
    x, y, tau = F.normalize(cloud(9, 4, 0), dim=1), F.normalize(cloud(9, 4, 1), dim=1), 0.2
    s = (x @ y.T).requires_grad_()
    loss = InfoNCELoss(tau, weights=(1.0, 0.0)).double()(s, torch.eye(9, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(9 * loss, s)
    off = ~torch.eye(9, dtype=torch.bool)
    pushes = gradient[off].reshape(9, 8)
    found = hardness(x, y, [tau])
    assert found.push[0] == pytest.approx(-tau * float(gradient.diagonal().mean()))
    relative = pushes / pushes.sum(1, keepdim=True)
    assert found.entropy[0] == pytest.approx(float(torch.special.entr(relative).sum(1).mean()))


def test_entropy_rises_with_temperature_from_one_negative_to_all() -> None:
    x, y = cloud(50, 8, 0), cloud(50, 8, 1)
    found = hardness(x, y, [0.001, 0.01, 0.1, 1.0, 1000.0])
    assert list(found.entropy) == sorted(found.entropy)
    assert found.effective[0] == pytest.approx(1, abs=0.3)
    assert found.effective[-1] == pytest.approx(49, rel=1e-5)
    assert found.hardest[-1] == pytest.approx(1 / 49, rel=1e-2)


def test_bad_input_is_named() -> None:
    x = cloud(5, 3, 0)
    with pytest.raises(ValueError, match="matched rows"):
        unwrap(hardness)(x, x[:4])
    with pytest.raises(ValueError, match="at least 3"):
        hardness(x[:2], x[:2])
    with pytest.raises(ValueError, match="above 0"):
        hardness(x, x, [0.0])
    with pytest.raises(ValueError, match="fraction=2"):
        hardness(x, x, fraction=2.0)
