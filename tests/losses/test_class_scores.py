"""Losses of class scores: peers' values, limits, and the traps of the cards."""

from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F
from timm.loss import AsymmetricLossMultiLabel, LabelSmoothingCrossEntropy
from torch import Tensor

from counterpoint import losses as L
from counterpoint.pairwise import Temperature, evaluate_with

F64 = torch.float64


def drawn(rows: int = 12, classes: int = 5, width: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    z, bank = (torch.randn(n, width, generator=g, dtype=F64) for n in (rows, classes))
    return (
        z,
        bank,
        torch.randn(classes, generator=g, dtype=F64),
        torch.randint(0, classes, (rows,), generator=g),
    )


def gradient(loss: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, of)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy_is_that_of_pytorch(smoothing: float) -> None:
    z, bank, bias, labels = drawn()
    labels[3] = -1
    expected = F.cross_entropy(z @ bank.T + bias, labels, ignore_index=-1, label_smoothing=smoothing)
    torch.testing.assert_close(L.CrossEntropyLoss(smoothing)(z, bank, bias, labels=labels), expected)


def test_smoothing_is_that_of_timm() -> None:
    z, bank, _, labels = drawn()
    expected = LabelSmoothingCrossEntropy(0.2)(z @ bank.T, labels)
    torch.testing.assert_close(L.CrossEntropyLoss(0.2)(z, bank, labels=labels), expected)


@pytest.mark.parametrize(
    ("positive", "negative", "margin"), [(1.0, 4.0, 0.05), (0.0, 2.0, 0.0), (0.0, 0.0, 0.2)]
)
def test_asymmetric_loss_is_that_of_timm(positive: float, negative: float, margin: float) -> None:
    z, bank, bias, _ = drawn()
    z, targets = z.requires_grad_(), torch.rand(len(z), len(bank)) < 0.3
    peer = AsymmetricLossMultiLabel(gamma_neg=negative, gamma_pos=positive, clip=margin)
    loss = L.AsymmetricLoss(positive, negative, margin)(z, bank, bias, targets=targets)
    # Theirs is of float32, and has a floor under its logarithms.
    expected = peer(z @ bank.T + bias, targets.to(F64)).double()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient(loss, z), gradient(expected, z), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_powers_below_one_keep_finite_gradient_where_tag_certain(power: float) -> None:
    z = torch.tensor([[120.0, -120.0]], requires_grad=True)
    targets = torch.tensor([[True, False]])
    loss = L.AsymmetricLoss(power, power)(z, torch.eye(2), targets=targets)
    assert loss.item() == 0
    assert gradient(loss, z)[0].isfinite().all()


def test_bce_is_that_of_pytorch_and_leaves_out_what_is_not_known() -> None:
    z, bank, bias, _ = drawn()
    targets, known = torch.rand(12, 5) < 0.3, torch.rand(12, 5) < 0.6
    known[2] = False
    s = z @ bank.T + bias
    each = F.binary_cross_entropy_with_logits(s, targets.to(F64), reduction="none")
    torch.testing.assert_close(L.BCELoss()(z, bank, bias, targets=targets), each.sum(1).mean())
    rows = known.any(1)
    expected = (each * known).sum(1)[rows].mean()
    torch.testing.assert_close(L.BCELoss()(z, bank, bias, targets=targets, known=known), expected)


def test_equal_priors_adjust_nothing_and_others_by_their_log() -> None:
    z, bank, bias, labels = drawn()
    plain = L.CrossEntropyLoss()(z, bank, bias, labels=labels)
    equal, prior = torch.full((5,), 0.2, dtype=F64), torch.tensor([0.5, 0.2, 0.1, 0.1, 0.1], dtype=F64)
    adjusted = L.LogitAdjustedLoss()
    torch.testing.assert_close(adjusted(z, bank, equal, bias, labels=labels), plain)
    torch.testing.assert_close(L.LogitAdjustedLoss(0.0)(z, bank, prior, bias, labels=labels), plain)
    expected = F.cross_entropy(z @ bank.T + bias + prior.log(), labels)
    torch.testing.assert_close(adjusted(z, bank, prior, bias, labels=labels), expected)


@pytest.mark.parametrize(
    "loss", [L.CrossEntropyLoss(), L.HarmonicLoss(), L.GMLLoss(0.3)], ids=lambda loss: type(loss).__name__
)
def test_without_any_class_a_batch_costs_nothing(loss: L.CrossEntropyLoss) -> None:
    z, bank, _, _ = drawn()
    z, nobody = z.requires_grad_(), torch.full((12,), -1)
    extra = (torch.arange(5),) if isinstance(loss, L.GMLLoss) else ()
    value = loss(z, bank, *extra, labels=nobody)
    assert value.item() == 0
    assert not gradient(value, z)[0].any()


def test_a_bank_of_many_classes_is_never_scored_at_once() -> None:
    g = torch.Generator().manual_seed(0)
    z, bank = (torch.randn(n, 8, generator=g).requires_grad_() for n in (64, 3000))
    labels = torch.randint(0, 3000, (64,), generator=g)
    expected = F.cross_entropy(z @ bank.T, labels)
    with evaluate_with("tiled", tile=(32, 256)):
        loss = L.CrossEntropyLoss()(z, bank, labels=labels)
    torch.testing.assert_close(loss, expected)
    for found, wanted in zip(gradient(loss, z, bank), gradient(expected, z, bank), strict=True):
        torch.testing.assert_close(found, wanted)


# Harmonic loss


def released(z: Tensor, bank: Tensor, n: float, eps: float = 1e-4) -> Tensor:
    """Return the release's logarithms of probabilities: squared distances, by the least of a row, to a power."""
    squared = (z[:, None] - bank[None]).square().sum(2) + eps
    scores = (squared / squared.amin(1, keepdim=True)) ** -n
    return (scores / scores.sum(1, keepdim=True)).log()


def test_the_exponent_is_twice_the_release_s() -> None:
    z, bank, _, labels = drawn()
    loss = L.HarmonicLoss(exponent=6.0)
    expected = F.nll_loss(released(z, bank, 3.0), labels)
    torch.testing.assert_close(loss(z, bank, labels=labels), expected)
    torch.testing.assert_close(
        loss.scores(z, bank).log_softmax(1).double(), released(z, bank, 3.0), atol=1e-5, rtol=1e-5
    )


def test_harmonic_probabilities_do_not_change_with_the_scale() -> None:
    z, bank, _, labels = drawn()
    loss = L.HarmonicLoss(exponent=5.0, epsilon=1e-12)
    torch.testing.assert_close(loss(100 * z, 100 * bank, labels=labels), loss(z, bank, labels=labels))


def test_harmonic_loss_falls_floor_finite_vectors_keeps_gradient() -> None:
    _, bank, _, _ = drawn()
    z, labels = bank.clone().requires_grad_(), torch.arange(5)
    value = L.HarmonicLoss(exponent=5.0)(z, bank, labels=labels)
    assert 0 < value.item() < 1e-8
    assert gradient(value, z)[0].isfinite().all()


def test_small_distances_survive_float32_far_from_the_origin() -> None:
    centre = torch.full((1, 16), 30.0)
    bank = centre + torch.eye(16)[:4]
    z, labels = bank + 1e-3 * torch.randn(4, 16, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    loss = L.HarmonicLoss(exponent=2.0, epsilon=1e-7)
    exact = loss(z.double(), bank.double(), labels=labels)
    torch.testing.assert_close(loss(z, bank, labels=labels).double(), exact, rtol=1e-2, atol=0)


def test_a_large_exponent_stays_finite_in_the_log_domain() -> None:
    z, bank, _, labels = drawn()
    value = L.HarmonicLoss(exponent=1536.0)(z.float(), bank.float(), labels=labels)
    assert value.isfinite()


# GML


def keyed() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    z, keys = (F.normalize(torch.randn(n, 6, generator=g, dtype=F64), dim=-1) for n in (8, 20))
    return z, keys, torch.arange(20) % 4 % 3, torch.arange(8) % 3


def test_one_key_class_equal_priors_give_cross_entropy_over_keys() -> None:
    z, keys, _, labels = keyed()
    found = L.GMLLoss(0.3)(z, keys[:3], torch.arange(3), torch.full((3,), 1 / 3, dtype=F64), labels=labels)
    torch.testing.assert_close(found, F.cross_entropy(z @ keys[:3].T / 0.3, labels))


def test_two_reductions_are_the_scores_of_classes() -> None:
    z, keys, key_labels, labels = keyed()
    prior = torch.tensor([0.6, 0.3, 0.1], dtype=F64)
    each = (z @ keys.T / 0.3).exp()
    mean = torch.stack([each[:, key_labels == c].mean(1) for c in range(3)], 1)
    expected = F.cross_entropy(mean.log() + prior.log(), labels)
    torch.testing.assert_close(L.GMLLoss(0.3)(z, keys, key_labels, prior, labels=labels), expected)
    summed = torch.stack([each[:, key_labels == c].sum(1) for c in range(3)], 1)
    expected = F.cross_entropy(summed.log() + prior.log(), labels)
    found = L.GMLLoss(0.3, average=False)(z, keys, key_labels, prior, labels=labels)
    torch.testing.assert_close(found, expected)


def test_class_scores_by_mean_however_many_of_its_keys_there_are() -> None:
    z, keys, key_labels, labels = keyed()
    rare = key_labels == 2
    more, more_labels = (
        torch.cat([keys, keys[rare], keys[rare]]),
        torch.cat([key_labels, key_labels[rare].repeat(2)]),
    )
    loss = L.GMLLoss(0.3)
    torch.testing.assert_close(
        loss(z, more, more_labels, labels=labels), loss(z, keys, key_labels, labels=labels)
    )


def test_the_temperature_learns_from_a_branch_of_its_own() -> None:
    z, keys, key_labels, labels = keyed()
    z, keys, ids = z.requires_grad_(), keys.requires_grad_(), torch.arange(8)
    key_ids = torch.arange(20)
    learned, fixed = L.GMLLoss(Temperature(0.3)).double(), L.GMLLoss(0.3)
    both = learned(z, keys, key_labels, None, key_ids, labels=labels, ids=ids)
    alone = fixed(z, keys, key_labels, labels=labels)
    # To queries and keys goes the first branch alone, which keeps the key of the query's own item.
    for found, wanted in zip(gradient(both, z, keys), gradient(alone, z, keys), strict=True):
        torch.testing.assert_close(found, wanted)
    both = learned(z, keys, key_labels, None, key_ids, labels=labels, ids=ids)
    (slope,) = gradient(both, learned.temperature.parameter)
    scale = torch.tensor(math.log(1 / 0.3), dtype=F64, requires_grad=True)
    s = (z @ keys.T).detach() * scale.exp()
    # An item's keys are of its class.
    of_item = (ids[:, None] == key_ids[None]) & (labels[:, None] == key_labels[None])
    of_class = [(key_labels == c) & ~of_item for c in range(3)]
    mean = [(s.exp() * m).sum(1) / m.sum(1) for m in of_class]
    torch.testing.assert_close(slope, gradient(F.cross_entropy(torch.stack(mean, 1).log(), labels), scale)[0])


def test_queries_class_without_keys_keys_nobody_count_nothing() -> None:
    z, keys, key_labels, labels = keyed()
    nobody = torch.cat([key_labels, torch.full((3,), -1)])
    loss = L.GMLLoss(0.3)
    expected = loss(z[:5], keys, key_labels, labels=labels[:5])
    found = loss(
        z, torch.cat([keys, z[:3]]), nobody, labels=torch.cat([labels[:5], torch.tensor([7, 7, -1])])
    )
    torch.testing.assert_close(found, expected)
    assert loss(z, keys, torch.full_like(key_labels, -1), labels=labels).item() == 0


def test_scores_approach_bayes_in_the_limit_of_many_keys() -> None:
    """On a circle: two classes with von Mises densities, whose kernel mixtures estimate these."""
    g = torch.Generator().manual_seed(0)
    prior, centres = torch.tensor([0.9, 0.1], dtype=F64), torch.tensor([-0.8, 0.8], dtype=F64)

    def points(labels: Tensor) -> Tensor:
        angle = centres[labels] + 0.7 * torch.randn(len(labels), generator=g, dtype=F64)
        return torch.stack([angle.cos(), angle.sin()], 1)

    key_labels = torch.randint(0, 2, (4000,), generator=g)
    labels = (torch.rand(4000, generator=g) < 0.1).long()
    keys, z = points(key_labels), points(labels)
    angle = torch.atan2(z[:, 1], z[:, 0])
    density = -0.5 * ((angle[:, None] - centres) / 0.7) ** 2
    bayes = F.cross_entropy(density + prior.log(), labels)
    found = {a: L.GMLLoss(0.05, average=a)(z, keys, key_labels, prior, labels=labels) for a in (True, False)}
    assert float(found[True] - bayes) < 0.02
    # Of a queue that follows the prior, a sum counts it twice.
    some = torch.cat([torch.where(key_labels == 0)[0], torch.where(key_labels == 1)[0][:200]])
    twice = L.GMLLoss(0.05, average=False)(z, keys[some], key_labels[some], prior, labels=labels)
    once = L.GMLLoss(0.05)(z, keys[some], key_labels[some], prior, labels=labels)
    assert float(once - bayes) < 0.02 < float(twice - bayes)


def test_what_does_not_fit_is_refused() -> None:
    z, bank, _, labels = drawn()
    with pytest.raises(ValueError, match="z has 6 dimensions but bank 4"):
        # Past the shape annotations, which tests enforce and users' processes do not.
        unwrap(L.CrossEntropyLoss.forward)(L.CrossEntropyLoss(), z, bank[:, :4], labels=labels)
    with pytest.raises(ValueError, match="give both, or neither"):
        L.GMLLoss()(z, bank, torch.arange(5), labels=labels, ids=labels)
