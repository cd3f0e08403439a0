"""MS-SSIM: parity with torchmetrics, and its traps."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from counterpoint.losses import MSSSIMLoss
from counterpoint.losses.ms_ssim import WEIGHTS


@pytest.fixture
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    x = torch.nn.functional.avg_pool2d(torch.rand(4, 3, 140, 140, generator=g), 2)
    return x, (0.8 * x + 0.2 * torch.rand(x.shape, generator=g)).clamp(0, 1)


def test_one_scale_is_ssim_of_torchmetrics(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = pictures
    _, image = structural_similarity_index_measure(y, x, data_range=1.0, return_full_image=True)
    whole_windows = image[..., 5:-5, 5:-5]  # it pads its pictures
    ours = 1 - MSSSIMLoss(scales=1, window=11)(x, y)
    torch.testing.assert_close(ours, whole_windows.mean(), rtol=0, atol=1e-5)


def test_further_scales_have_the_contrasts_of_torchmetrics(
    pictures: tuple[torch.Tensor, torch.Tensor],
) -> None:
    x, y = pictures
    total, expected = sum(WEIGHTS[:3]), torch.ones(len(x))
    for scale, weight in enumerate(WEIGHTS[:3]):
        _, contrast = structural_similarity_index_measure(
            y, x, data_range=1.0, reduction="none", return_contrast_sensitivity=True
        )
        _, image = structural_similarity_index_measure(
            y, x, data_range=1.0, reduction="none", return_full_image=True
        )
        means = (
            image[..., 5:-5, 5:-5].flatten(1).mean(1) if scale == 2 else contrast.reshape(len(x), -1).mean(1)
        )
        expected = expected * means ** (weight / total)
        x, y = (torch.nn.functional.avg_pool2d(side, 2) for side in (x, y))
    assert 0.1 < float(expected.mean()) < 0.99
    torch.testing.assert_close(MSSSIMLoss(window=11).similarity(*pictures), expected, rtol=0, atol=1e-5)


def test_a_negative_of_a_picture_has_a_finite_loss_and_gradient(
    pictures: tuple[torch.Tensor, torch.Tensor],
) -> None:
    x, _ = pictures
    y = (1 - x).requires_grad_(True)
    loss = MSSSIMLoss()(x, y)
    (gradient,) = torch.autograd.grad(loss, y)
    assert 0.9 < loss.item() <= 1
    assert gradient.isfinite().all()


def test_pictures_in_half_precision_are_compared_in_single() -> None:
    flat = torch.full((1, 1, 32, 32), 0.9)
    noisy = flat + 0.002 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(0))
    halves = flat.half(), noisy.half()
    whole = MSSSIMLoss()(*(half.float() for half in halves))
    torch.testing.assert_close(MSSSIMLoss()(*halves), whole)


def test_the_range_of_pixels_is_that_of_the_constants(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = pictures
    torch.testing.assert_close(MSSSIMLoss(data_range=255.0)(255 * x, 255 * y), MSSSIMLoss()(x, y))
    assert MSSSIMLoss(data_range=255.0)(x, y) < MSSSIMLoss()(x, y) / 10


def test_falls_with_blur_and_noise(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = pictures
    loss = MSSSIMLoss()
    noise = [loss(x, x + amount * (y - x)).item() for amount in (0.0, 0.5, 1.0)]
    blurred = [loss(x, torch.nn.functional.avg_pool2d(x, side, 1, side // 2)).item() for side in (1, 3, 5)]
    for losses in (noise, blurred):
        assert losses == sorted(losses)
        assert losses[0] < 1e-6


def test_refuses_pictures_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="sides must be more than 24"):
        MSSSIMLoss()(torch.rand(1, 3, 24, 24), torch.rand(1, 3, 24, 24))
