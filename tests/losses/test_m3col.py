"""M3CoL's losses: InfoNCE without mixing, partners as positives, soft targets and their gradient."""

from __future__ import annotations

import math
from inspect import unwrap
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import InfoNCELoss, M3CoLoss, MultiSClipLoss
from fixtures.vectors import F64, pair


def mixing(
    x: Tensor, y: Tensor, partners: Tensor, share: float, other: Tensor | None = None
) -> dict[str, Any]:
    shares = torch.full((len(x),), share, dtype=F64)
    return {
        "mixed_x": x,
        "partners_x": partners,
        "shares_x": shares,
        "mixed_y": y,
        "partners_y": partners if other is None else other,
        "shares_y": shares,
    }


IDS = 10 * torch.arange(7)
ROUND = IDS.roll(1)


def test_no_share_makes_the_partner_the_only_positive() -> None:
    x, y = pair(7, 5)
    other = IDS.roll(-2)
    loss = M3CoLoss(0.2)(x, y, IDS, **mixing(x, y, ROUND, 0.0, other))
    expected = InfoNCELoss(0.2)(x, y.roll(1, 0)) + InfoNCELoss(0.2)(y, x.roll(-2, 0))
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_mixture_with_itself_has_a_share_of_one(share: float) -> None:
    x, y = pair(7, 5)
    loss = M3CoLoss()(x, y, IDS, **mixing(x, y, IDS, share))
    torch.testing.assert_close(loss, 2 * InfoNCELoss(0.1)(x, y), rtol=1e-12, atol=0)


def test_the_loss_is_linear_in_the_shares_of_fixed_mixtures() -> None:
    x, y = pair(7, 5)
    whole, half, none = (M3CoLoss()(x, y, IDS, **mixing(x, y, ROUND, share)) for share in (1.0, 0.5, 0.0))
    torch.testing.assert_close(half, (whole + none) / 2, rtol=1e-12, atol=0)
    assert abs(whole - none) > 0.1


def test_columns_are_not_normalised() -> None:
    # All embeddings alike: each row costs log n, each column log n times what it is the target of.
    n = 4
    x = F.normalize(torch.ones(n, 3, dtype=F64), dim=-1)
    ids = torch.arange(n)
    shares = torch.tensor([1.0, 0.25, 0.5, 0.75], dtype=F64)
    given = mixing(x, x, torch.zeros(n, dtype=torch.long), 1.0) | {"shares_x": shares, "shares_y": shares}
    y = x.clone()
    y[0] = -y[0]  # its column has logit −1 against 1 elsewhere, whichever row
    loss = M3CoLoss(1.0)(x, y, ids, **given | {"mixed_y": x})
    log_row = math.log(3 * math.exp(1) + math.exp(-1))
    mass, pull = 1.0 + 0.75 + 0.5 + 0.25, 2 * (0.25 + 0.5 + 0.75) - n
    log_columns = mass * (math.log(n) - 1) + (n - mass) * (math.log(n) + 1)
    first = (n * log_row - pull + log_columns - pull) / n / 2
    assert loss.item() == pytest.approx(first + math.log(n), rel=1e-12)


def test_a_batch_of_one_costs_nothing() -> None:
    x, y = pair(1, 5)
    loss = M3CoLoss()(x, y, IDS[:1], **mixing(x, y, IDS[:1], 0.4))
    assert abs(loss.item()) < 1e-12
    assert abs(MultiSClipLoss()(x, y).item()) < 1e-12


def test_partners_must_be_one_per_row() -> None:
    x, y = pair(7, 5)
    with pytest.raises(ValueError, match=r"one per row, \(7,\), got \(7,\), \(6,\)"):
        unwrap(M3CoLoss.forward)(M3CoLoss(), x, y, IDS, **mixing(x, y, ROUND[:-1], 0.5))


def soft_clip(a: Tensor, c: Tensor, target: Tensor, tau: float) -> Tensor:
    s, t = a @ c.T / tau, (target @ target.T / tau).softmax(1)
    return (F.cross_entropy(s, t) + F.cross_entropy(s.T, t)) / 2


@pytest.mark.parametrize("detach", [False, True])
def test_multi_sclip_is_two_soft_losses(detach: bool) -> None:
    x, y = pair(7, 5)
    keep = (lambda t: t.detach()) if detach else (lambda t: t)
    plain = soft_clip(x, y, keep(y), 0.125) + soft_clip(y, x, keep(x), 0.125)
    ours = MultiSClipLoss(detach_targets=detach)(x, y)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(ours, [x, y]), torch.autograd.grad(plain, [x, y]), rtol=1e-10, atol=1e-12
    )


def test_multi_sclip_of_distinct_examples_is_twice_infonce() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = (torch.linalg.qr(torch.randn(6, 6, generator=g, dtype=F64)).Q for _ in range(2))
    # At cosine 0 and temperature 0.01 the soft targets are one-hot to within exp(−100).
    torch.testing.assert_close(MultiSClipLoss(0.01)(x, y), 2 * InfoNCELoss(0.01)(x, y), rtol=1e-12, atol=0)


def test_targets_are_not_detached_unless_asked_for() -> None:
    x, y = pair(7, 5)
    (kept,), (cut,) = (torch.autograd.grad(MultiSClipLoss(detach_targets=d)(x, y), x) for d in (False, True))
    assert (kept - cut).norm() > 0.01 * kept.norm()
