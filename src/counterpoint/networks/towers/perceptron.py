"""The smallest towers: perceptrons on pixels and on patches and a bag of words, for runs of seconds."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..base import ImageTower, TextTower, Tokenizer
from .parts.pixels import Normalise
from .parts.pooling import inside, pool
from .transformer import Embedding


class PixelPerceptron(ImageTower):
    """``W_2 relu(W_1 x + b_1) + b_2`` of the normalised pixels x of a picture, of ``3 · size²`` values.

    Args:
        size: pixels of a side.
        hidden: width of the hidden layer.
        width: of a feature vector.
    """

    kept_in_timm = "counterpoint_mlp"

    def __init__(self, size: int = 16, hidden: int = 256, width: int = 64) -> None:
        super().__init__()
        self.size, self.width = size, width
        self.normalise = Normalise()
        self.up, self.down = nn.Linear(3 * size**2, hidden), nn.Linear(hidden, width)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return self.down(F.relu(self.up(self.normalise(images).flatten(1))))


class PatchPerceptron(ImageTower):
    """The mean over overlapping square patches of ``W_2 relu(W_1 x + b_1) + b_2``, x the normalised pixels of one.

    A patch is a quarter of the picture a side, and one begins at every eighth: 7 × 7 places, each of which has features
    of its own.

    Args:
        size: pixels of a side; a multiple of 8.
        hidden: width of the hidden layer.
        width: of a feature vector.

    Raises:
        ValueError: for another size.

    >>> import torch
    >>> PatchPerceptron(size=32).patches(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 64, 7, 7])
    """

    kept_in_timm = "counterpoint_patches"

    def __init__(self, size: int = 32, hidden: int = 128, width: int = 64) -> None:
        super().__init__()
        if size % 8:
            raise ValueError(f"image size {size}: patches of pictures need a multiple of 8")
        self.size, self.width, self.stride = size, width, size // 8
        self.normalise = Normalise()
        self.up, self.down = nn.Linear(3 * (2 * self.stride) ** 2, hidden), nn.Linear(hidden, width)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return self.patches(images).mean((2, 3))

    def patches(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width h w"]:
        pixels = F.unfold(self.normalise(images), 2 * self.stride, stride=self.stride).mT
        places = self.down(F.relu(self.up(pixels)))
        rows, columns = (length // self.stride - 1 for length in images.shape[2:])
        return places.mT.unflatten(2, (rows, columns))


class BagOfWords(TextTower):
    """``m + W_2 relu(W_1 m + b_1) + b_2``, m the mean of the vectors of a caption's tokens; their order is lost.

    While training, ``dropout`` acts on each token's vector and on the hidden layer.

    Args:
        tokenizer: whose ids it takes.
        width: of a token's vector and of a feature vector.
    """

    pooling = None

    def __init__(self, tokenizer: Tokenizer, width: int = 64) -> None:
        super().__init__()
        self.tokenizer, self.width = tokenizer, width
        self.words = Embedding(tokenizer.vocabulary, width, std=0.1)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B width"]:
        active = self.training and dropout > 0
        words = F.dropout(self.words(tokens), dropout, active)
        mean = pool(words, inside(tokens, self.tokenizer.end), "mean")
        return mean + self.down(F.dropout(F.relu(self.up(mean)), dropout, active))
