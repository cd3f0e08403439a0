"""Pictures as a tower expects them: their size, and the values of their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ....types import Fit

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Square:
    """The input of an image tower: pictures resized and cut by its fit, in [0, 1].

    Attributes:
        size: height and width in pixels of the pictures that the tower takes.
        fit: the way in which the library of its weights makes them; the shorter side to ``size`` and the middle of it
            unless given.
    """

    size: int
    fit: Fit | None = None

    def stated(self) -> str:
        return repr(self)

    @property
    def evaluation_fit(self) -> Fit:
        """Fit by which a single picture is prepared outside training: `fit`, or one resize and a centre crop.

        >>> Square(48).evaluation_fit
        Fit(size=48, side=48, resize='shortest', interpolation='bicubic', fill=(0, 0, 0), resizer='pillow', half='even')
        """
        return self.fit or Fit(self.size, self.size)

    def scaled(self, share: float) -> Square:
        """Return the input of pictures of a share of the side, resized and not cut.

        >>> Square(48).scaled(0.5)
        Square(size=24, fit=None)

        Raises:
            ValueError: if that is less than a pixel.
        """
        if (side := round(share * self.size)) < 1:
            raise ValueError(
                f"a view of size {share:g} has no pixel of the tower's {self.size}; make it larger"
            )
        return replace(self, size=side, fit=None)

    def __call__(self, pictures: UInt8[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 size size"]:
        return fitted(pictures, self.evaluation_fit)


def fitted(pictures: UInt8[Tensor, "B 3 H W"], fit: Fit) -> Float[Tensor, "B 3 size size"]:
    """Resize and cut pictures by a fit, and scale them to [0, 1].

    Tensors know no filters but the bicubic and the bilinear one, so the former stands for all others.
    """
    # Here, as it takes a second, and what is not resized needs none of it.
    from torchvision.transforms.v2 import functional as F

    bilinear = fit.interpolation == "bilinear"
    filter_ = F.InterpolationMode.BILINEAR if bilinear else F.InterpolationMode.BICUBIC
    shape = fit.resized(*pictures.shape[-2:])
    resized = F.resize(pictures, list(shape), interpolation=filter_, antialias=True)
    top, left = (fit.start(length) for length in shape)
    if min(shape) < fit.size:
        whole = torch.tensor(fit.fill, dtype=torch.uint8, device=pictures.device)[None, :, None, None]
        canvas = whole.expand(len(pictures), 3, fit.size, fit.size).clone()
        above, before = max(-top, 0), max(-left, 0)
        shown = resized[..., max(top, 0) :, max(left, 0) :][..., : fit.size, : fit.size]
        canvas[..., above : above + shown.shape[-2], before : before + shown.shape[-1]] = shown
    else:
        canvas = resized[..., top : top + fit.size, left : left + fit.size]
    return F.to_dtype(canvas, scale=True)


class Normalise(nn.Module):
    """(x − mean)/std per channel; ImageNet's values unless told otherwise.

    >>> Normalise(mean=(0.5,) * 3, std=(0.5,) * 3)(torch.ones(1, 3, 2, 2)).unique()
    tensor([1.])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images: Float[Tensor, "*B 3 H W"]) -> Float[Tensor, "*B 3 H W"]:
        return (images - self.mean) / self.std
