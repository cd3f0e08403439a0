"""The section about the patches of pictures: what varies among them, and which are alike."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ...networks.towers.parts.pixels import fitted
from ...types import Fit
from .. import plots
from .subject import DiagnosticSection, Subject, spaced

SHOWN = 12
"""Pictures that are drawn."""
COMPONENTS = 3
CUT = 0.02
"""Share of the values at either end that a colour does not tell apart."""
COLUMNS = ("picture", "components", "likeness", "another", "likeness")


def patch_features(subject: Subject) -> DiagnosticSection:
    """Draw the principal components of patches as colours, and how alike a marked patch is to others."""
    pictures = subject.pictures(spaced(subject.rows, SHOWN))
    maps = subject.model.patch_features(pictures).permute(0, 2, 3, 1).float().cpu()
    if maps.shape[1] * maps.shape[2] < 2:
        raise ValueError("the image tower has one patch a picture")
    colours, explained = components(maps)
    unit = F.normalize(maps.flatten(1, 2), dim=-1)
    within = (unit @ unit.mT).mean((1, 2))
    marked = most_distinct(maps)
    rows = []
    size = subject.model.image_tower.size
    shown = (fitted(pictures, Fit(size, size)) * 255).byte()
    for k, cell in enumerate(marked.tolist()):
        other = (k + 1) % len(maps)
        likeness = [(unit[j] @ unit[k, cell]).view(maps.shape[1:3]).clamp(min=0).numpy() for j in (k, other)]
        picture = outlined(shown[k], cell, (maps.shape[1], maps.shape[2]))
        rows.append(
            [picture, colours[k].numpy(), likeness[0], shown[other].permute(1, 2, 0).numpy(), likeness[1]]
        )
    between = unit.flatten(0, 1).mean(0).square().sum()
    numbers = {
        "variance of three components": explained,
        "cosine within a picture": float(within.mean()),
        "cosine of any two": float(between),
    }
    sentence = (
        f"Three principal components hold {explained:.0%} of the variance of patches. The mean cosine of two patches "
        f"is {numbers['cosine within a picture']:.2f} within a picture and {numbers['cosine of any two']:.2f} among "
        f"all of {len(maps)} pictures. The pictures show the components as red, green and blue, and the cosine with "
        "the outlined patch, in its own picture and in another."
    )
    return DiagnosticSection("places", "What patches say", sentence, numbers, plots.gallery(rows, COLUMNS))


def components(maps: Float[Tensor, "n h w C"]) -> tuple[Float[Tensor, "n h w 3"], float]:
    """Return three principal components of patches, each scaled to [0, 1], and their share of the variance."""
    flat = maps.flatten(0, 2).double()
    flat = flat - flat.mean(0)
    _, spread, axes = torch.linalg.svd(flat, full_matrices=False)
    axes = axes[:COMPONENTS]
    # The sign of an axis is arbitrary: its largest entry is positive.
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    scores = flat @ axes.T
    low, high = torch.quantile(scores, torch.tensor([CUT, 1 - CUT], dtype=scores.dtype), 0)
    scaled = ((scores - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    scaled = F.pad(scaled, (0, COMPONENTS - scaled.shape[1]))
    share = spread[:COMPONENTS].square().sum() / spread.square().sum().clamp(min=1e-12)
    return scaled.view(*maps.shape[:3], COMPONENTS), float(share)


def most_distinct(maps: Float[Tensor, "n h w C"]) -> Int[Tensor, " n"]:
    """Return the patch of each picture that is farthest from the mean of its picture's patches."""
    flat = maps.flatten(1, 2)
    return (flat - flat.mean(1, keepdim=True)).square().sum(2).argmax(1)


def outlined(picture: UInt8[Tensor, "3 H W"], cell: int, grid: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    """Return a picture with the border of one of its patches in red."""
    drawn = picture.permute(1, 2, 0).clone()
    row, column = divmod(cell, grid[1])
    (top, bottom), (left, right) = (
        (at * side // count, (at + 1) * side // count - 1)
        for at, side, count in ((row, drawn.shape[0], grid[0]), (column, drawn.shape[1], grid[1]))
    )
    red = torch.tensor([255, 0, 0], dtype=torch.uint8)
    for line in (drawn[top, left : right + 1], drawn[bottom, left : right + 1]):
        line[:] = red
    for line in (drawn[top : bottom + 1, left], drawn[top : bottom + 1, right]):
        line[:] = red
    return drawn.numpy()
