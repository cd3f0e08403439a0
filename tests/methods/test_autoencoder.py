"""The autoencoder: its losses in closed form, the noise of its code, and its reconstructions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from method_stubs import build, loaded, run

from counterpoint.losses import MSSSIMLoss


@pytest.mark.parametrize("loss", ["l1", "l2", "ms-ssim"])
def test_loss_is_of_the_picture_and_what_its_code_draws(loss: Any) -> None:
    method = build("autoencoder", loss=loss)
    given = loaded(method, 4)
    code = method.projections["image"](method.features("image", given["image"]))
    drawn = method.decoder(code)
    assert drawn.shape == given["image"].shape
    assert 0 <= drawn.min() <= drawn.max() <= 1
    gaps = given["image"] - drawn
    expected = {
        "l1": gaps.abs().mean(),
        "l2": gaps.square().mean(),
        "ms-ssim": MSSSIMLoss(scales=2, window=3)(given["image"], drawn),
    }[loss]
    torch.testing.assert_close(run(method, given)["reconstruction"], expected)


def test_divergence_is_that_of_torch() -> None:
    method = build("autoencoder", kl=0.5, code=3)
    given = loaded(method, 4)
    features = method.features("image", given["image"])
    mean, log_variance = method.projections["image"](features), method.log_variance(features)
    normal = torch.distributions.Normal
    divergence = torch.distributions.kl_divergence(
        normal(mean, (log_variance / 2).exp()), normal(torch.zeros(3), torch.ones(3))
    )
    losses = run(method, given)
    torch.testing.assert_close(losses["kl"], 0.5 * divergence.sum(1).mean())


def test_the_code_is_the_embedding_and_is_noisy_in_training_alone() -> None:
    method = build("autoencoder", kl=1.0, code=3)
    given = loaded(method, 4)
    first, second = (run(method, given)["reconstruction"] for _ in range(2))
    assert first != second
    pictures = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    drawn = method.reconstruct(pictures)
    assert torch.equal(drawn, method.reconstruct(pictures))
    assert method.embed("image", pictures).shape == (2, 3)
