"""The grouping loss against plain loops, and the traps of its release."""

from __future__ import annotations

from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import GroupingLoss
from counterpoint.losses.grouping import grouped

B, P, K, D, TAU = 3, 5, 2, 6, 0.2


def inputs(seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return tuple(
        F.normalize(torch.randn(B, n, D, generator=g, dtype=torch.float64), dim=-1).requires_grad_()
        for n in (P, K)
    )


def loops(patches: Tensor, texts: Tensor, threshold: float) -> Tensor:
    groups, flat = [], []
    for i in range(B):
        for k in range(K):
            a = torch.stack([texts[i, k] @ patches[i, p] for p in range(P)])
            a = (a - a.min()) / (a.max() - a.min() + 1e-10)
            a = torch.where(a < threshold, 0.0, a)
            mean = sum(a[p] * patches[i, p] for p in range(P)) / a.sum()
            groups.append(mean / mean.norm())
            flat.append(texts[i, k])
    terms = []
    for m in range(B * K):
        to_text = torch.stack([groups[m] @ flat[n] for n in range(B * K)]) / TAU
        to_group = torch.stack([flat[m] @ groups[n] for n in range(B * K)]) / TAU
        terms += [-to_text.log_softmax(0)[m], -to_group.log_softmax(0)[m]]
    return torch.stack(terms).mean()


@pytest.mark.parametrize("threshold", [0.0, 0.4])
def test_equals_plain_loops_with_gradient_through_the_weights(threshold: float) -> None:
    patches, texts = inputs()
    ours, theirs = (
        GroupingLoss(TAU, threshold=threshold)(patches, texts),
        loops(patches, texts, threshold),
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(ours, (patches, texts)),
        torch.autograd.grad(theirs, (patches, texts)),
        rtol=1e-7,
        atol=1e-10,
    )


def test_patches_meet_their_own_texts_alone() -> None:
    patches, texts = inputs()
    others = torch.cat([texts[:1], inputs(1)[1][1:]])
    assert torch.equal(grouped(patches, texts)[0], grouped(patches, others)[0])


def test_texts_that_are_missing_have_no_part() -> None:
    patches, texts = inputs()
    mask = torch.tensor([[True, True], [True, False], [True, False]])
    noise = torch.where(mask[..., None], texts, inputs(2)[1])
    loss = GroupingLoss(TAU)
    torch.testing.assert_close(loss(patches, texts, mask=mask), loss(patches, noise, mask=mask))


def test_a_picture_of_equal_patches_is_their_mean() -> None:
    patches, texts = inputs()
    same = patches[:, :1].expand(B, P, D)
    torch.testing.assert_close(grouped(same, texts), same[:, :K])


def test_pictures_must_agree() -> None:
    patches, texts = inputs()
    with pytest.raises(ValueError, match="patches are of 3 pictures but texts of 2"):
        unwrap(GroupingLoss.forward)(GroupingLoss(), patches, texts[:2])
