"""The painter: its pipeline in plain diffusers, its noise, and what it draws."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from counterpoint.networks.init import initialise
from counterpoint.networks.painter import PaintingNetwork, pixel_coder, schedule
from counterpoint.networks.towers.tokenizer import BytePairTokenizer


@pytest.fixture(scope="module")
def painter() -> PaintingNetwork:
    tokenizer = BytePairTokenizer.train(["a red cat and a blue fish"], 400, 8)
    made = PaintingNetwork(tokenizer, 8, width=4, blocks=2, text_width=8, text_layers=1)
    initialise(made, 0)
    return made.eval()


def test_latents_of_the_coder_are_pixels() -> None:
    coder, pixels = pixel_coder(), torch.rand(2, 3, 8, 8) * 2 - 1
    with torch.no_grad():
        latents = coder.encode(pixels).latents * coder.config.scaling_factor
        torch.testing.assert_close(latents, pixels, atol=1e-5, rtol=0)
        again = coder.decode(latents / coder.config.scaling_factor).sample
        torch.testing.assert_close(again, pixels, atol=1e-3, rtol=0)


def test_noise_and_velocity_are_those_of_diffusers(painter: PaintingNetwork) -> None:
    pictures, noise, times = torch.rand(3, 3, 8, 8), torch.randn(3, 3, 8, 8), torch.tensor([0, 400, 999])
    noisy, velocity = painter.noised(pictures, noise, times)
    clean = 2 * pictures - 1
    torch.testing.assert_close(noisy, schedule().add_noise(clean, noise, times))
    torch.testing.assert_close(velocity, schedule().get_velocity(clean, noise, times))


def test_plain_diffusers_opens_it_and_draws_what_it_draws(painter: PaintingNetwork, tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    painter.save(tmp_path)
    opened = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path, local_files_only=True)
    opened.set_progress_bar_config(disable=True)
    opened.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(opened.scheduler.config)
    texts = ["a red cat", "a blue fish"]
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    theirs = opened(
        texts,
        height=8,
        width=8,
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=generators,
        output_type="pt",
    ).images
    torch.testing.assert_close(painter.draw(texts, steps=3), theirs, atol=2e-3, rtol=0)
    again = PaintingNetwork.load(tmp_path)
    assert torch.equal(again.eval().draw(texts, steps=3), painter.draw(texts, steps=3))
    (tmp_path / "unet" / "config.json").unlink()
    with pytest.raises(ValueError, match="is no pipeline"):
        PaintingNetwork.load(tmp_path)


def test_a_picture_follows_from_its_text_and_seed(painter: PaintingNetwork) -> None:
    both = painter.draw(["a red cat", "a blue fish"], seeds=[4, 5], steps=2)
    torch.testing.assert_close(painter.draw(["a blue fish"], seeds=[5], steps=2), both[1:])
    assert both.shape == (2, 3, 8, 8)
    assert 0 <= both.min() <= both.max() <= 1
    assert not torch.equal(both, painter.draw(["a red cat", "a blue fish"], seeds=[5, 5], steps=2))


def test_a_side_that_blocks_cannot_halve_is_refused() -> None:
    tokenizer = BytePairTokenizer.train(["a"], 300, 8)
    with pytest.raises(ValueError, match="cannot halve a side of 10 pixels 2 times"):
        PaintingNetwork(tokenizer, 10, blocks=3)
