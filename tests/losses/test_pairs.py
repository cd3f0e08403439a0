"""Pair losses: parity with pytorch-metric-learning, and what becomes of mixtures at the ends of λ."""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint import losses
from counterpoint.losses import CircleLoss, ContrastiveLoss, MultiSimilarityLoss, ProxyAnchorLoss
from counterpoint.pairwise import evaluate_with
from fixtures.vectors import F64, unit, views

LABELS = torch.tensor([0, 1, 0, 2, 1, 0])
NAMES = ("contrastive", "multi-similarity", "circle")


def theirs(name: str) -> Callable[..., Tensor]:
    metric_losses = pytest.importorskip("pytorch_metric_learning.losses")
    if name == "contrastive":
        cosine = pytest.importorskip("pytorch_metric_learning.distances").CosineSimilarity()
        return metric_losses.ContrastiveLoss(pos_margin=1, neg_margin=0.5, distance=cosine)  # type: ignore[no-any-return]
    kind = {"multi-similarity": "MultiSimilarityLoss", "circle": "CircleLoss"}[name]
    return getattr(metric_losses, kind)()  # type: ignore[no-any-return]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_loss_of_pytorch_metric_learning(name: str, count: int) -> None:
    z = [view.requires_grad_() for view in views(count, 6, 4)]
    ours = losses.create(name)(*(F.normalize(view, dim=1) for view in z), labels=LABELS)
    expected = theirs(name)(torch.cat(z), LABELS.repeat(count))
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=0)
    for a, b in zip(*(torch.autograd.grad(loss, z) for loss in (ours, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_proxies_equal_those_of_pytorch_metric_learning() -> None:
    other = pytest.importorskip("pytorch_metric_learning.losses").ProxyAnchorLoss(4, 5).double()
    z, bank = unit(6, 5).requires_grad_(), other.proxies
    pairs = (
        ProxyAnchorLoss()(F.normalize(z, dim=1), bank, labels=LABELS),
        other(z, LABELS),
    )  # class 3 has no example
    torch.testing.assert_close(*pairs, rtol=1e-10, atol=0)
    for a, b in zip(*(torch.autograd.grad(loss, (z, bank)) for loss in pairs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def of_mixtures(loss: Any, *inputs: Tensor, labels: Tensor) -> Tensor:
    """The mixed term alone."""
    whole = loss(*inputs, labels=labels)
    mix, loss.mix = loss.mix, 0.0
    clean = loss(*inputs, labels=labels)
    loss.mix = mix
    return (whole - clean) / mix


def at(name: str, share: float, **options: Any) -> Any:
    loss = losses.create(name, mix=0.4, **options).double()
    loss.shares.fill_(share)
    return loss


@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
def test_whole_shares_give_the_clean_positive_term(evaluator: Any) -> None:
    # Three examples of two classes: with one negative of each anchor a positive counts once, as in the clean term.
    z, labels = unit(3, 4), torch.tensor([0, 0, 1])
    s = (z @ z.T)[0, 1]
    with evaluate_with(evaluator, tile=2):
        found = of_mixtures(at("multi-similarity", 1.0), z, labels=labels)
    # The third has no positive: it is one itself, beside two negatives.
    clean = (
        2 * (1 + (-2 * (s - 0.5)).exp()).log() / 2 + (1 + 2 * torch.tensor(-1.0, dtype=F64).exp()).log() / 2
    )
    torch.testing.assert_close(found, clean / 3, rtol=1e-12, atol=0)


def test_whole_shares_of_equal_classes_are_clean_positive_mean() -> None:
    z, labels = unit(8, 4), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    positives = (z[:4] * z[4:]).sum(1)
    found = of_mixtures(at("contrastive", 1.0), z, labels=labels)
    torch.testing.assert_close(found, (1 - positives).mean(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", [*NAMES, "proxy-anchor"])
def test_no_share_gives_the_clean_negative_term(name: str) -> None:
    z, labels, bank = unit(7, 4), torch.tensor([0, 1, 0, 2, 1, 0, 2]), unit(3, 4, seed=1)
    inputs = (z, bank) if name == "proxy-anchor" else (z,)
    found = of_mixtures(at(name, 0.0), *inputs, labels=labels)
    anchors, same = (
        (bank, labels == torch.arange(3)[:, None]) if len(inputs) == 2 else (z, labels == labels[:, None])
    )
    s = (anchors @ z.T).masked_fill(same, -torch.inf)
    near = (s - 0.5).relu()
    expected = {
        "contrastive": near[near > 0].mean(),
        "multi-similarity": (F.softplus((50 * (s - 0.5)).logsumexp(1)) / 50).mean(),
        "circle": torch.tensor(0.0, dtype=F64),  # a product of the two sides
        "proxy-anchor": F.softplus((32 * (s + 0.1)).logsumexp(1)).mean(),
    }
    torch.testing.assert_close(found, expected[name], rtol=1e-10, atol=1e-12)


def test_mixtures_are_normalised() -> None:
    z = torch.eye(3, dtype=F64)
    found = of_mixtures(at("contrastive", 0.5), z, labels=torch.tensor([0, 0, 1]))
    # Halves of two orthogonal vectors are at 45°; the anchors 0 and 1 are orthogonal to all, the third is a part.
    half = 0.5**0.5
    pull = 0.5 * (1 + 1 + 2 * (1 - half)) / 4
    assert found.item() == pytest.approx(pull + 0.5 * (half - 0.5), rel=1e-10)


def test_negatives_count_where_they_are_too_near_alone() -> None:
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]], dtype=F64)
    loss = ContrastiveLoss(0.5)(z, labels=torch.tensor([0, 0, 1, 2]))
    assert loss.item() == pytest.approx(0.3, rel=1e-12)  # a mean over all ten negatives is 0.12


def test_without_any_positive_or_negative_there_is_no_gradient() -> None:
    for name in NAMES:
        for labels in (torch.arange(4), torch.zeros(4, dtype=torch.long)):
            z = unit(4, 3).requires_grad_()
            loss = losses.create(name, mix=0.4)(z, labels=labels)
            (gradient,) = torch.autograd.grad(loss, z)
            assert loss.isfinite()
            assert gradient.isfinite().all()


def test_opposite_vectors_mixed_by_halves_are_finite() -> None:
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=F64, requires_grad=True)
    (gradient,) = torch.autograd.grad(at("multi-similarity", 0.5)(z, labels=torch.tensor([0, 0, 1])), z)
    assert gradient.isfinite().all()


def test_labels_are_relative_to_the_anchor() -> None:
    (force,) = (
        MultiSimilarityLoss(2.0, 2.0)
        .explain(unit(4, 3).requires_grad_(), labels=torch.tensor([0, 1, 0, -1]))
        .forces
    )
    assert set(force.positives(0)) == {2}
    assert set(force.negatives(1)) == {0, 2, 3}
    assert not set(force.positives(3))


@pytest.mark.parametrize("labels", [torch.arange(5), torch.zeros(6, 1, dtype=torch.long), torch.zeros(6)])
def test_bad_labels_are_refused(labels: Tensor) -> None:
    with pytest.raises(ValueError, match=r"labels must be one integer per row, \(6,\)"):
        unwrap(CircleLoss.forward)(CircleLoss(), *views(2, 6, 4), labels=labels)


@pytest.mark.parametrize("mix", [0.0, 0.4])
def test_a_circle_of_nan_is_nan(mix: float) -> None:
    x, labels = unit(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    x[3, 1] = torch.nan
    assert CircleLoss(mix=mix)(x, labels=labels).isnan()
