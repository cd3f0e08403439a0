"""A word for a concept: made from pictures and the name of its class, as long as other words, with low-rank updates."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Count
from .fusion.query_transformer import QueryTransformer

PAPERS = {"multibooth": ("ConceptEncoder", "LowRankUpdate", "matched_norm")}
_LAYERS = 2


def matched_norm(vectors: Float[Tensor, "*B w"], like: Float[Tensor, "pieces w"]) -> Float[Tensor, "*B w"]:
    """Return vectors as long as the pieces of a word are in the mean: v · mean ‖c‖ / ‖v‖, with gradient of v alone.

    >>> matched_norm(torch.tensor([3.0, 4.0]), torch.tensor([[2.0, 0.0], [0.0, 4.0]])).norm().round(decimals=4).item()
    3.0
    """
    length = like.detach().norm(dim=-1).mean()
    return vectors * (length / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-8))


class ConceptEncoder(nn.Module):
    """Learned queries that read a class name and the features of a picture; their mean is the vector of a word.

        v = mean_k O_k,   O = E(features, name, queries)

    E is transformers' ``Blip2QFormerModel`` with two layers: queries and name attend to each other, and queries attend
    to the features in the first layer.

    Args:
        width: of words.
        context: width of the features.
        vocabulary: ids of tokens of names are below it.
        length: the most tokens of a name.
        queries: K.

    Source: Zhu et al., "MultiBooth: Towards Generating All Your Concepts in an Image from Text" (2024), arXiv
    2404.14239.
    """

    def __init__(self, width: int, context: int, vocabulary: int, length: int, queries: Count = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(context)
        self.transformer = QueryTransformer(width, queries, _LAYERS, vocabulary, length, context)
        # What nothing reads: predictions of tokens, and the perceptron of the name's tokens in the last layer.
        del self.transformer.head
        last = self.transformer.model.encoder.layer[-1]
        for part in (last.intermediate, last.output):
            part.requires_grad_(False)

    def forward(self, features: Float[Tensor, "B n c"], name: Int[Tensor, " L"]) -> Float[Tensor, "B w"]:
        """Return the vector of each picture.

        Args:
            features: of places of pictures.
            name: ids of the class name.
        """
        tokens = name.expand(len(features), -1)
        every = torch.ones_like(tokens, dtype=torch.bool)
        read = every.new_ones(features.shape[:2])
        return self.transformer(self.norm(features), read, tokens, every)[0].mean(1)


class LowRankUpdate(nn.Module):
    """An addition to a weight, of a rank: U D, of which U is 0 at the start.

    Args:
        rows, columns: of the weight.
        rank: of the addition, or the smaller side of the weight where that is less.

    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021), arXiv 2106.09685.
    """

    def __init__(self, rows: Count, columns: Count, rank: Count = 4) -> None:
        super().__init__()
        rank = min(rank, rows, columns)
        self.up, self.down = nn.Parameter(torch.empty(rows, rank)), nn.Parameter(torch.empty(rank, columns))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.up)
        nn.init.normal_(self.down, std=self.down.shape[1] ** -0.5)

    def forward(self) -> Float[Tensor, "rows columns"]:
        """Return the addition, with gradient."""
        return self.up @ self.down
