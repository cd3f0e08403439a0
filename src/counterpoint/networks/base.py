"""What a tower is: raw inputs of one modality to one feature vector per example."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F


class Tokenizer(Protocol):
    """Captions to token ids."""

    context: int
    vocabulary: int

    def __call__(self, captions: Sequence[str]) -> Int[Tensor, "B L"]:
        """Token ids, zero-padded on the right; a caption that is too long is cut and still ends in the end token."""
        ...


class ImageTower(nn.Module, ABC):
    """Pictures to features.

    Attributes:
        width: the size of a feature vector.
        size: height and width in pixels of the pictures it takes.
    """

    width: int
    size: int

    @abstractmethod
    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        """Features of pictures in [0, 1]; normalisation with the tower's own mean and deviation happens here."""

    def prepare(self, pictures: UInt8[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 size size"]:
        """Evaluation preprocessing: shorter side to ``size``, centre crop, to [0, 1]."""
        resized = F.resize(pictures, [self.size], interpolation=F.InterpolationMode.BICUBIC, antialias=True)
        return F.to_dtype(F.center_crop(resized, [self.size, self.size]), scale=True)


class TextTower(nn.Module, ABC):
    """Token ids to features.

    Attributes:
        width: the size of a feature vector.
        tokenizer: the tokenizer whose ids it takes.
    """

    width: int
    tokenizer: Tokenizer

    @abstractmethod
    def forward(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B width"]:
        """Features at the end token; ``dropout`` acts on the input of every residual block while training."""
