"""SwALIP with the batch as centres, and with prototypes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import GlobalLocalLoss, SwALIPLoss, SwALIPPrototypesLoss
from counterpoint.pairwise import evaluate_with, moments
from fixtures.vectors import F64


def views(n: int = 7, d: int = 5) -> tuple[list[Tensor], list[Tensor]]:
    g = torch.Generator().manual_seed(0)
    z = [F.normalize(torch.randn(n, d, generator=g, dtype=F64), dim=-1).requires_grad_() for _ in range(4)]
    return z[:2], z[2:]


def test_orthonormal_views_are_their_own_targets() -> None:
    # Q_ii = 1 / (1 + 5 exp(-20)), so the loss is InfoNCE at the identity and (1 - Q_ii) / tau more.
    x = torch.eye(6, dtype=F64)
    own = 1 / (1 + 5 * math.exp(-20))
    expected = math.log(1 + 5 * math.exp(-1 / 0.2)) + (1 - own) / 0.2
    assert SwALIPLoss(0.2)([x, x], [x, x]).item() == pytest.approx(expected, rel=1e-12)


def dense(images: list[Tensor], texts: list[Tensor], tau: float, swap: Any) -> Tensor:
    losses = []
    for a in range(2):
        for b in range(2):
            u = images[swap(a)] @ texts[swap(b)].T
            s = images[a] @ texts[b].T / tau
            for target, logits in ((u, s), (u.T, s.T)):
                losses.append(-(moments.sinkhorn(target) * logits.log_softmax(1)).sum(1).mean())
    return torch.stack(losses).mean()


def test_both_views_are_swapped_in_the_target() -> None:
    images, texts = views()
    loss = SwALIPLoss(0.2)(images, texts)
    torch.testing.assert_close(loss, dense(images, texts, 0.2, lambda v: 1 - v), rtol=1e-10, atol=0)
    assert abs(loss - dense(images, texts, 0.2, lambda v: v)) > 1e-3


@pytest.mark.parametrize("tile", [2, 4, 7])
def test_staged_sinkhorn_equals_the_dense_one_in_gradient(tile: int) -> None:
    images, texts = views()
    inputs = [*images, *texts]
    with evaluate_with("tiled", tile=tile):
        ours = torch.autograd.grad(SwALIPLoss(0.2)(images, texts), inputs)
    theirs = torch.autograd.grad(dense(images, texts, 0.2, lambda v: 1 - v), inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_targets_do_not_depend_on_temperature_carry_no_gradient() -> None:
    images, texts = views()
    (a,) = torch.autograd.grad(SwALIPLoss(1e6)(images, texts), images[0])
    # At an infinite temperature predictions are uniform: only a gradient through the target could remain.
    assert a.abs().max() < 1e-5


def test_the_temperature_may_be_shared_with_the_local_stream() -> None:
    rocket = GlobalLocalLoss(label_smoothing=0.0)
    swalip = SwALIPLoss(rocket.local.temperature)
    assert swalip.temperature is rocket.local.temperature


@pytest.mark.parametrize("count", [1, 3])
def test_needs_exactly_two_views(count: int) -> None:
    x = torch.eye(4)
    with pytest.raises(ValueError, match=f"two views of each modality, got {count} and 2"):
        SwALIPLoss()([x] * count, [x, x])


def test_prototypes_image_learns_from_text_codes_text_from_image() -> None:
    g = torch.Generator().manual_seed(0)
    image, text = (torch.rand(6, 4, generator=g, dtype=F64) * 2 - 1 for _ in range(2))
    p = [(s / 0.1).log_softmax(1) for s in (image, text)]
    q = [moments.sinkhorn(s) for s in (image, text)]
    expected = -((q[1] * p[0]).sum(1).mean() + (q[0] * p[1]).sum(1).mean()) / 2
    torch.testing.assert_close(SwALIPPrototypesLoss()(image, text), expected, rtol=1e-12, atol=0)


def test_prototypes_take_codes_from_a_momentum_model() -> None:
    g = torch.Generator().manual_seed(0)
    image, text, m_image, m_text = (torch.rand(6, 4, generator=g, dtype=F64) * 2 - 1 for _ in range(4))
    objective = SwALIPPrototypesLoss()
    p = [(s / 0.1).log_softmax(1) for s in (image, text)]
    q = [moments.sinkhorn(s) for s in (m_image, m_text)]
    expected = -((q[1] * p[0]).sum(1).mean() + (q[0] * p[1]).sum(1).mean()) / 2
    torch.testing.assert_close(objective(image, text, m_image, m_text), expected, rtol=1e-12, atol=0)
