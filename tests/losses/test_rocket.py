"""The combined global and local loss, by the values of its card."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import GlobalLocalLoss
from fixtures.vectors import F64, unit


def clip(image: Tensor, text: Tensor, tau: float, smoothing: float = 0.0) -> Tensor:
    s, target = image @ text.T / tau, torch.arange(len(image))
    return sum(F.cross_entropy(m, target, label_smoothing=smoothing) for m in (s, s.T)) / 2  # type: ignore[return-value]


@pytest.mark.parametrize("views", [0, 1, 2, 3])
@pytest.mark.parametrize(("reduction", "factor"), [("mean", 1), ("sum", 2)])
def test_orthonormal_matches(views: int, reduction: Any, factor: int) -> None:
    x = torch.eye(6, dtype=F64)
    loss = GlobalLocalLoss(0.5, 0.5, label_smoothing=0.0, reduction=reduction)(x, x, [x] * views, [x] * views)
    assert loss.item() == pytest.approx(factor * math.log(1 + 5 * math.exp(-2)), rel=1e-12)


def test_weights_are_a_third_and_four_sixths_for_two_views() -> None:
    image, text = unit(7, 4, seed=0), unit(7, 4, seed=1)
    images, texts = [unit(7, 5, seed=k) for k in (2, 3)], [unit(7, 5, seed=k) for k in (4, 5)]
    local = [clip(h, t, 0.2, 0.1) / 6 for h in images for t in texts]
    expected = clip(image, text, 0.1) / 3 + sum(local)
    loss = GlobalLocalLoss(0.1, 0.2, label_smoothing=0.1)(image, text, images, texts)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_weights_are_halves_for_one_view() -> None:
    z = [unit(7, 4, seed=k) for k in range(4)]
    expected = (clip(z[0], z[1], 0.1) + clip(z[2], z[3], 0.2, 0.1)) / 2
    torch.testing.assert_close(
        GlobalLocalLoss(0.1, 0.2)(z[0], z[1], [z[2]], [z[3]]), expected, rtol=1e-12, atol=0
    )


def test_labels_are_smoothed_in_the_local_stream_only() -> None:
    x, y, h, t = (unit(7, 4, seed=k) for k in range(4))
    s = h @ t.T / 0.2
    gap = (s.diagonal() - s.mean()).mean()
    smoothed = GlobalLocalLoss(0.1, 0.2, label_smoothing=0.3)(x, y, [h], [t])
    added = smoothed - GlobalLocalLoss(0.1, 0.2, label_smoothing=0.0)(x, y, [h], [t])
    torch.testing.assert_close(added, 0.3 * gap / 2, rtol=1e-10, atol=0)


def test_streams_have_their_own_temperatures() -> None:
    objective = GlobalLocalLoss()
    assert objective.global_.temperature.value.item() == pytest.approx(0.07)
    assert objective.local.temperature.value.item() == pytest.approx(0.1)
    assert len(list(objective.parameters())) == 2


def test_unequal_numbers_of_views_are_refused() -> None:
    x = torch.eye(4)
    with pytest.raises(ValueError, match="local_images has 2 views but local_texts 1"):
        GlobalLocalLoss()(x, x, [x, x], [x])
