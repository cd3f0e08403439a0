"""The tower, from raw inputs of one modality to one feature vector per example."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F

from ..types import Fit

Pooling = Literal["end", "first", "mean", "max", "mean_sqrt", "weighted_mean"]
"""From the states of a caption's tokens to one vector: the last's, the first's, their mean, their maximum; their sum by
the root of their number, and their mean weighted by their place, 1 for the first."""


@runtime_checkable
class Tokenizer(Protocol):
    """Captions to token ids.

    Attributes:
        context: the most tokens a caption may have, start and end tokens included.
        vocabulary: ids are below this number.
        end: the id of the end token.
    """

    context: int
    vocabulary: int
    end: int

    def __call__(self, captions: Sequence[str]) -> Int[Tensor, "B L"]:
        """Token ids, padded on the right; a caption that is too long is cut and still ends in ``end``."""
        ...

    def too_long(self, captions: Sequence[str]) -> Bool[Tensor, " B"]:
        """Say of each caption whether ``context`` cuts it."""
        ...


class Tower(nn.Module, ABC):
    """One modality's encoder.

    Attributes:
        width: the size of a feature vector.
        frozen: no weight moves, and the tower stays in evaluation mode (dropout, batch statistics) whatever
            its parent does; set by ``tune``.
        weights_set: the weights are already as the run should start; ``initialise`` leaves them alone.
        projected: features lie in a space that both towers of a pretrained pair share.
    """

    width: int
    frozen: bool = False
    weights_set: bool = False
    projected: bool = False

    def train(self, mode: bool = True) -> Self:
        return super().train(mode and not self.frozen)


class ImageTower(Tower, ABC):
    """Pictures to features.

    Attributes:
        size: height and width in pixels of the pictures it takes.
        fit: the way in which the library of its weights makes them; None where they are this package's own.
    """

    size: int
    fit: Fit | None = None

    @abstractmethod
    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        """Features of pictures in [0, 1]; the tower's own normalisation happens here."""

    def patches(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width h w"]:
        """Features of the places of pictures, in the space of `forward`'s, before places are pooled.

        Raises:
            LookupError: for a tower that mixes places before its features are what `forward` returns.
        """
        raise LookupError(f"{type(self).__name__} has no features of single places of a picture")

    def prepare(self, pictures: UInt8[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 size size"]:
        """Prepare pictures for evaluation: by its `fit`, else the shorter side to ``size`` and the middle of it."""
        return fitted(pictures, self.fit or Fit(self.size, self.size))


def fitted(pictures: UInt8[Tensor, "B 3 H W"], fit: Fit) -> Float[Tensor, "B 3 size size"]:
    """Resize and cut pictures by a fit, and scale them to [0, 1].

    Tensors know no filters but the bicubic and the bilinear one, so the former stands for all others.
    """
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


class TextTower(Tower, ABC):
    """Token ids to features.

    Attributes:
        tokenizer: the tokenizer whose ids it takes.
        begins_with_end: whether its captions begin with the end token too.
        pooling: how the states of the tokens become one vector; None where the model has its own way. A
            method may set it.
    """

    tokenizer: Tokenizer
    begins_with_end: bool = False
    pooling: Pooling | None = "end"

    @abstractmethod
    def forward(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B width"]:
        """Features of captions; ``dropout`` acts on the input of every residual block while training."""

    def states(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B L width"]:
        """Features of the tokens of captions, in the space of `forward`'s, before they are pooled; zero for padding.

        Raises:
            LookupError: for a tower without them.
        """
        raise LookupError(f"{type(self).__name__} has no features of single tokens of a caption")
