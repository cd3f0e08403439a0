"""Pictures that gradients make: attacked within a ball, and drawn from nothing to fit a text."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

PAPERS = {"eb-clip": ("perturb", "fit_pixels", "gaussian_pictures", "draw_pictures")}

PictureLoss = Callable[[Float[Tensor, "n 3 H W"]], Float[Tensor, ""]]
"""A loss of pictures with values in [0, 1]."""
PictureEncoder = Callable[[Float[Tensor, "n 3 H W"]], Float[Tensor, "n d"]]
"""An encoder of pictures with values in [0, 1], with gradient."""

COARSE = 16
"""Side in pixels of the pictures that a Gaussian is fitted to."""
_LEARNING_RATE = 0.0175
_ZOOM, _SHIFT, _NOISE, _TINT = 0.2, 0.2, 0.01, 0.1
_CUT = 0.5  # side of what is cut out, as a share of the picture's


def perturb(
    pictures: Float[Tensor, "n 3 H W"], loss: PictureLoss, *, radius: float, steps: int
) -> Float[Tensor, "n 3 H W"]:
    """Return pictures at which a loss is larger, each within an L2 ball around the given one (Madry et al., 2017).

        δ_0 = 0,   δ ← Proj_{‖δ‖ ≤ ε}(δ + α g / ‖g‖),   g = ∂ loss / ∂δ,   α = 2.5 ε / steps

    The norms are those of single pictures. Values stay in [0, 1], which moves no picture out of its ball. Parameters
    get no gradient; set the encoder to evaluation mode before.

    Args:
        pictures: with values in [0, 1].
        loss: what is made larger.
        radius: ε.
        steps: of the ascent.

    >>> x = torch.full((1, 3, 2, 2), 0.5)
    >>> round(perturb(x, lambda pictures: pictures.sum(), radius=0.1, steps=3).sub(x).norm().item(), 4)
    0.1
    """
    attacked = pictures.detach()
    for _ in range(steps):
        with torch.enable_grad():
            attacked = attacked.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(attacked), attacked)
        delta = attacked.detach() + 2.5 * radius / steps * _unit(gradient) - pictures
        shrunk = delta * (radius / _norms(delta).clamp_min(radius))
        attacked = (pictures + shrunk).clamp(0, 1)
    return attacked.detach()


def fit_pixels(
    start: Float[Tensor, "n 3 H W"], loss: PictureLoss, *, steps: int, rate: float = _LEARNING_RATE
) -> Float[Tensor, "n 3 H W"]:
    """Return pictures at which a loss is smaller, by AdamW on their pixels; values stay in [0, 1].

    Args:
        start: pictures to begin with.
        loss: what is made smaller.
        steps: of AdamW.
        rate: its learning rate.

    >>> grey = torch.full((1, 3, 2, 2), 0.5)
    >>> round(fit_pixels(grey, lambda pictures: -pictures.sum(), steps=2, rate=0.1).mean().item(), 3)
    0.699
    """
    pixels = start.detach().clone().requires_grad_()
    optimiser = torch.optim.AdamW([pixels], lr=rate)
    for _ in range(steps):
        with torch.enable_grad():
            (pixels.grad,) = torch.autograd.grad(loss(pixels), pixels)
        optimiser.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)
    return pixels.detach()


def gaussian_pictures(
    pictures: Float[Tensor, "N 3 H W"], weights: Float[Tensor, "n N"]
) -> Float[Tensor, "n 3 H W"]:
    """Return draws from the Gaussian that is fitted to pictures of 16 × 16 pixels, at the size of the given ones.

        x = μ + Σ_k w_k (x_k − μ) / √N,   w ~ N(0, I)

    whose covariance is that of the pictures.

    Args:
        pictures: that the Gaussian is fitted to, with values in [0, 1].
        weights: w, normal numbers.

    >>> gaussian_pictures(torch.rand(4, 3, 32, 32), torch.zeros(2, 4)).shape
    torch.Size([2, 3, 32, 32])
    """
    coarse = F.interpolate(pictures, size=(COARSE, COARSE), mode="area").flatten(1)
    mean = coarse.mean(0)
    drawn = mean + weights.to(coarse) @ (coarse - mean) / len(coarse) ** 0.5
    size = (pictures.shape[2], pictures.shape[3])
    maps = drawn.view(-1, pictures.shape[1], COARSE, COARSE)
    return F.interpolate(maps, size=size, mode="bilinear").clamp(0, 1)


def random_views(pictures: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n 3 H W"]:
    """Return a changed view of each picture, with gradient.

    Each is enlarged or shrunk by up to a fifth, moved by up to a tenth of the side, scaled in each channel by up to a
    tenth, and has noise of 0.01; half of them lack a square of half the side, which is grey. What is drawn is drawn
    from torch's generator.

    >>> random_views(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 3, 8, 8])
    """
    n, channels, height, width = pictures.shape
    theta = pictures.new_zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = pictures.new_empty(n).uniform_(1 - _ZOOM, 1 + _ZOOM)
    theta[:, :, 2].uniform_(-_SHIFT, _SHIFT)
    grid = F.affine_grid(theta, [n, channels, height, width], align_corners=False)
    moved = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    tint = pictures.new_empty(n, channels, 1, 1).uniform_(1 - _TINT, 1 + _TINT)
    moved = moved * tint + _NOISE * torch.randn_like(moved)
    down, right = pictures.new_empty(2, n, 1).uniform_(0, 1 - _CUT)
    rows, columns = (
        ((torch.arange(side).to(pictures) + 0.5) / side - corner - _CUT / 2).abs() < _CUT / 2
        for side, corner in ((height, down), (width, right))
    )
    cut = pictures.new_empty(n, 1, 1, 1).uniform_() < 0.5
    return torch.where(cut & rows[:, None, :, None] & columns[:, None, None, :], 0.5, moved)


@torch.no_grad()
def draw_pictures(
    encode: PictureEncoder,
    targets: Float[Tensor, "n d"],
    examples: Float[Tensor, "N 3 H W"],
    *,
    steps: int = 100,
    views: int = 4,
    candidates: int = 16,
    seed: int = 0,
) -> Float[Tensor, "n 3 H W"]:
    """Draw a picture for each embedding, such as those of texts, by its pixels alone.

    A picture begins as the one of some draws of `gaussian_pictures` that fits best, and is changed by `fit_pixels` to
    maximise the mean cosine of `random_views` of it. The same seed gives the same pictures.

    An encoder that never saw attacked pictures draws noise that fits as well: judge what comes of it by another one.

    Args:
        encode: of pictures, in evaluation mode.
        targets: embeddings in the same space.
        examples: pictures that the start is like, such as those of a training set; of a class, for one of that class.
        steps: of AdamW.
        views: of each picture in a step.
        candidates: draws that the start is chosen from.
        seed: of everything that is drawn.

    >>> pictures = draw_pictures(lambda x: x.mean((2, 3)), torch.eye(3)[:2], torch.rand(8, 3, 16, 16), steps=2)
    >>> pictures.shape
    torch.Size([2, 3, 16, 16])
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        targets = F.normalize(targets, dim=-1)
        weights = torch.randn(len(targets) * candidates, len(examples))
        starts = gaussian_pictures(examples, weights).view(len(targets), candidates, *examples.shape[1:])
        fits = [
            (F.normalize(encode(some), dim=-1) * target).sum(1)
            for some, target in zip(starts, targets, strict=True)
        ]
        best = torch.stack(fits).argmax(1)

        def loss(pictures: Float[Tensor, "n 3 H W"]) -> Float[Tensor, ""]:
            seen = encode(random_views(pictures.repeat(views, 1, 1, 1)))
            return -F.cosine_similarity(seen, targets.repeat(views, 1)).sum() / views

        return fit_pixels(starts[torch.arange(len(best)), best], loss, steps=steps)


def _norms(of: Tensor) -> Tensor:
    """Return the norm of each picture, as it multiplies them."""
    return of.flatten(1).norm(dim=1)[:, None, None, None]


def _unit(gradient: Tensor) -> Tensor:
    return gradient / _norms(gradient).clamp_min(torch.finfo(gradient.dtype).tiny)
