"""InfoNCE: closed forms, CLIP, ALIGN and ConVIRT, and parity with others."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss

from counterpoint.losses import InfoNCELoss
from counterpoint.pairwise import Temperature
from fixtures.vectors import F64, pair


@pytest.mark.parametrize("n", [2, 5, 16])
@pytest.mark.parametrize("tau", [1.0, 0.2])
def test_orthonormal_matches(n: int, tau: float) -> None:
    x = torch.eye(n, dtype=F64)
    expected = math.log(1 + (n - 1) * math.exp(-1 / tau))
    assert InfoNCELoss(tau)(x, x).item() == pytest.approx(expected, rel=1e-12)
    assert InfoNCELoss(tau, weights=(1.0, 1.0))(x, x).item() == pytest.approx(2 * expected, rel=1e-12)


@pytest.mark.parametrize("tau", [1.0, 0.05])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_collapsed_features_cost_log_of_the_batch(tau: float, smoothing: float) -> None:
    x = F.normalize(torch.ones(12, 4, dtype=F64), dim=-1)
    loss = InfoNCELoss(tau, label_smoothing=smoothing)(x, x)
    assert loss.item() == pytest.approx(math.log(12), rel=1e-12)


def test_a_batch_of_one_costs_nothing_and_pulls_nowhere() -> None:
    x, y = pair(1, 6)
    loss = InfoNCELoss()(x, y)
    assert abs(loss.item()) < 1e-12
    for grad in torch.autograd.grad(loss, [x, y]):
        assert grad.abs().max() < 1e-12


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothing_adds_its_share_of_the_mean_gap(smoothing: float) -> None:
    x, y = pair(9, 6)
    s = x @ y.T / 0.1
    gap = (s.diagonal() - s.mean(1)).mean()
    added = InfoNCELoss(0.1, label_smoothing=smoothing)(x, y) - InfoNCELoss(0.1)(x, y)
    torch.testing.assert_close(added, smoothing * gap, rtol=1e-10, atol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [(0.5, 0.5), (1.0, 1.0), (0.75, 0.25), (1.0, 0.0), (0.0, 1.0)])
def test_equals_two_cross_entropies(smoothing: float, weights: tuple[float, float]) -> None:
    x, y = pair(9, 6)
    objective = InfoNCELoss(0.1, label_smoothing=smoothing, weights=weights)
    s, target = x @ y.T / 0.1, torch.arange(9)
    forth, back = (F.cross_entropy(m, target, label_smoothing=smoothing) for m in (s, s.T))
    plain = weights[0] * forth + weights[1] * back
    ours = torch.autograd.grad(objective(x, y), [x, y])
    torch.testing.assert_close(objective(x, y), plain, rtol=1e-12, atol=0)
    torch.testing.assert_close(ours, torch.autograd.grad(plain, [x, y]), rtol=1e-10, atol=1e-12)


def test_convirt_weighs_image_to_text_three_to_one() -> None:
    # The text is as close to a wrong image as to its own, the images are well told apart by text.
    image = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], dtype=F64)
    text = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8]], dtype=F64)
    s = image @ text.T / 0.1
    forth, back = (F.cross_entropy(m, torch.arange(3)) for m in (s, s.T))
    loss = InfoNCELoss(0.1, weights=(0.75, 0.25))(image, text)
    assert loss.item() == pytest.approx((0.75 * forth + 0.25 * back).item(), rel=1e-12)
    assert abs(forth - back) > 0.1


def test_parity_with_open_clip() -> None:
    x, y = pair(16, 6)
    objective = InfoNCELoss().double()
    scale = objective.temperature.inverse()
    theirs = ClipLoss()(x, y, scale)
    inputs = [x, y, *objective.parameters()]
    ours = objective(x, y)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), rtol=1e-10, atol=1e-12
    )


def test_align_starts_from_temperature_one_and_clip_from_007() -> None:
    align = InfoNCELoss(Temperature(1.0), weights=(1.0, 1.0), label_smoothing=0.1)
    assert align.temperature.value.item() == pytest.approx(1.0)
    assert InfoNCELoss().temperature.value.item() == pytest.approx(0.07)


def test_a_number_is_a_fixed_temperature_and_none_a_learned_one() -> None:
    assert not list(InfoNCELoss(0.1).parameters())
    assert len(list(InfoNCELoss().parameters())) == 1


def test_commit_clamps_the_scale_to_that_of_clip() -> None:
    objective = InfoNCELoss()
    assert objective.temperature.parameter is not None
    with torch.no_grad():
        objective.temperature.parameter.fill_(6.0)
    objective.commit()
    assert objective.temperature.inverse().item() == pytest.approx(100.0, rel=1e-5)


def test_explain_names_pair_and_pushes_the_rest_by_their_softmax() -> None:
    x, y = pair(5, 6)
    explanation = InfoNCELoss(0.5, weights=(1.0, 0.0)).explain(x, y)
    (force,) = explanation.forces
    p = (x @ y.T / 0.5).softmax(1).detach()
    torch.testing.assert_close(force.pull, torch.eye(5, dtype=F64) - p, rtol=1e-10, atol=1e-12)
    assert force.positives(2) == [2]
    assert force.negatives(2) == [j for j in p[2].argsort(descending=True).tolist() if j != 2]
    assert "1.0 positives, 4.0 negatives per anchor" in str(explanation)
