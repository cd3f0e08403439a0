"""The smallest towers: a perceptron on pixels and a bag of words, for runs of seconds."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..base import ImageTower, TextTower, Tokenizer
from .pixels import Normalise
from .pooling import inside, pool
from .transformer import Embedding


class PixelPerceptron(ImageTower):
    """``W_2 relu(W_1 x + b_1) + b_2`` of the normalised pixels x of a picture, of ``3 · size²`` values.

    Args:
        size: pixels of a side.
        hidden: width of the hidden layer.
        width: of a feature vector.
    """

    def __init__(self, size: int = 16, hidden: int = 256, width: int = 64) -> None:
        super().__init__()
        self.size, self.width = size, width
        self.normalise = Normalise()
        self.up, self.down = nn.Linear(3 * size**2, hidden), nn.Linear(hidden, width)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return self.down(F.relu(self.up(self.normalise(images).flatten(1))))


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
