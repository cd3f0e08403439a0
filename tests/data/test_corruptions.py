from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.data.corruptions import (
    BLUR,
    CONTRAST,
    CORRUPTIONS,
    NOISE,
    STRENGTHS,
    blur,
    contrast,
    noise,
)
from fixtures.tiny import TinyData

IDS = torch.tensor([1000, 7, 2**40])


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_stronger_is_further_away_and_depends_on_the_id_alone(kind: str) -> None:
    pictures = TinyData().images(np.array([3, 20, 44]))
    distances = []
    for strength in STRENGTHS:
        whole = CORRUPTIONS[kind](pictures, IDS, strength)
        assert whole.shape == pictures.shape
        assert whole.dtype == torch.uint8
        alone = CORRUPTIONS[kind](pictures[[2]], IDS[[2]], strength)
        torch.testing.assert_close(whole[[2]], alone, rtol=0, atol=0)
        distances.append((whole.float() - pictures.float()).square().mean().item())
    assert 0 < distances[0] < distances[1] < distances[2]


def test_noise_has_the_stated_deviation_and_differs_between_ids() -> None:
    grey = torch.full((2, 3, 200, 200), 128, dtype=torch.uint8)
    noisy = noise(grey, torch.tensor([1, 2]), 0)
    assert noisy.float().std().item() == pytest.approx(255 * NOISE[0], rel=0.01)
    assert noisy.float().mean().item() == pytest.approx(128, abs=0.5)
    assert (noisy[0] != noisy[1]).any()


def test_contrast_shrinks_the_distance_to_the_mean_grey() -> None:
    halves = torch.zeros(1, 3, 10, 10, dtype=torch.uint8)
    halves[..., 5:] = 200
    for strength, left in enumerate(CONTRAST):
        found = contrast(halves, IDS[:1], strength)
        assert found.amax().item() - found.amin().item() == pytest.approx(200 * left, abs=1)


def test_blur_spreads_point_stated_deviation_keeps_flat_pictures() -> None:
    size = 96
    flat = torch.full((1, 3, size, size), 77, dtype=torch.uint8)
    torch.testing.assert_close(blur(flat, IDS[:1], 2), flat, rtol=0, atol=0)
    line = torch.zeros(1, 3, size, size, dtype=torch.uint8)
    line[..., size // 2 - 8 : size // 2 + 8] = 255
    for strength, fraction in enumerate(BLUR):
        profile = blur(line, IDS[:1], strength)[0, 0, size // 2].double()
        x = torch.arange(size).double()
        centre = (x * profile).sum() / profile.sum()
        variance = ((x - centre).square() * profile).sum() / profile.sum()
        # A box of 16 pixels has variance (16² − 1)/12; the blur adds its own.
        assert variance.item() == pytest.approx((16**2 - 1) / 12 + (fraction * size) ** 2, rel=0.02)
