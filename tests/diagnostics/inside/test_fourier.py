from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
from torch import Tensor

from counterpoint.diagnostics.internals.fourier import (
    band_noise,
    relative_log_amplitude,
    spatial_variance,
)


def random_maps(k: int) -> Tensor:
    return torch.randn(8, 4, k, k, generator=torch.Generator().manual_seed(0)).double() + 1


@pytest.mark.parametrize("k", [6, 8, 7])
def test_equals_the_definition_with_a_shifted_transform(k: int) -> None:
    maps = random_maps(k)
    shifted = torch.fft.fftshift(torch.fft.fft2(maps), dim=(-2, -1))
    expected = (shifted.abs() + 1e-6).log().mean((0, 1)).diagonal()[k // 2 :]
    found = relative_log_amplitude(maps)
    torch.testing.assert_close(found, (expected - expected[0])[: len(found)])
    assert len(found) == math.ceil(k / 2)
    assert float(found[0]) == 0


def test_a_wave_shows_at_its_own_frequency() -> None:
    x = torch.arange(16)
    for f in (1, 3, 7):
        wave = 1 + torch.cos(2 * torch.pi * f / 16 * (x[:, None] + x[None, :]))
        found = relative_log_amplitude(wave.double()[None, None])
        assert int(found[1:].argmax()) + 1 == f
        assert float(found[f]) == pytest.approx(math.log(0.5), abs=1e-4)


def test_a_constant_map_has_no_variance_and_the_floor_elsewhere() -> None:
    maps = torch.full((2, 3, 8, 8), 2.0)
    assert spatial_variance(maps) == 0
    found = relative_log_amplitude(maps)
    torch.testing.assert_close(
        found[1:], torch.full((3,), math.log(1e-6) - math.log(128 + 1e-6), dtype=torch.float64)
    )


def test_map_of_one_position_no_variance_says_without_warning() -> None:
    assert math.isnan(spatial_variance(torch.ones(2, 3, 1, 1)))


def test_blurring_lowers_high_frequencies_variance_scale_changes() -> None:
    maps = random_maps(8)
    blurred = (maps + maps.roll(1, 2) + maps.roll(1, 3) + maps.roll((1, 1), (2, 3))) / 4
    assert float(relative_log_amplitude(blurred)[-1]) < float(relative_log_amplitude(maps)[-1]) - 1
    assert spatial_variance(blurred) < spatial_variance(maps)
    torch.testing.assert_close(
        relative_log_amplitude(100 * maps), relative_log_amplitude(maps), atol=1e-5, rtol=0
    )
    assert spatial_variance(maps) == pytest.approx(float(maps.flatten(2).var(2, correction=1).mean()))


def test_maps_that_have_no_diagonal_are_refused() -> None:
    for shape in ((1, 1, 4, 6), (1, 1, 3, 3)):
        with pytest.raises(ValueError, match="square maps"):
            unwrap(relative_log_amplitude)(torch.zeros(shape))


@pytest.mark.parametrize("frequency", [0.3, 1.5, 3.0])
def test_noise_has_its_band_alone_and_unit_energy(frequency: float) -> None:
    noise = band_noise(32, frequency, count=3)
    assert noise.shape == (3, 3, 32, 32)
    torch.testing.assert_close(noise.square().mean((1, 2, 3)), torch.ones(3))
    energy = torch.fft.fft2(noise.double()).abs().square()
    axis = 2 * torch.pi * torch.fft.fftfreq(32).abs()
    radius = torch.maximum(axis[:, None], axis[None, :])
    inside = (radius - frequency).abs() <= 0.2
    assert float(energy[..., ~inside].sum() / energy.sum()) < 1e-9
    assert torch.equal(noise, band_noise(32, frequency, count=3))
    with pytest.raises(ValueError, match="no frequency"):
        band_noise(8, 0.4, 0.1)
