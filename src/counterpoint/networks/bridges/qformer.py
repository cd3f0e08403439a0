"""The Q-Former of BLIP-2: learned queries that attend to the patches, and that texts can join in training."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from ..fusion.query_transformer import QueryTransformer
from .base import Bridge, Given, Seen

PAPERS = {"blip-2": ("QFormerBridge",)}
_LAYERS = 4


class QFormerBridge(Bridge):
    """Learned queries attend to each other and, in every second of four layers, to the normalised patches.

    It is as wide as the language model. Patches get no positions here: those of the picture tower are in their
    features. The arguments are those of `Bridge`.

    Source: Li et al., "BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language
    Models" (2023), arXiv 2301.12597.
    """

    order: ClassVar[bool] = False

    def __init__(
        self, width: int, out: int, grid: tuple[int, int], tokens: int | None = None, std: float = 0.02
    ) -> None:
        super().__init__(width, out, grid, tokens, std)
        self.norm = nn.LayerNorm(width)
        self.transformer = QueryTransformer(out, self.tokens, _LAYERS, context=width)
        self.out = self.into_words(out, out)

    @property
    def own_tokens(self) -> int:
        return 8

    def add_texts(self, vocabulary: int, length: int) -> None:
        """Let the transformer read texts too; the weights are to be drawn afterwards.

        Args:
            vocabulary: ids of tokens are below it.
            length: the most tokens of a text.
        """
        width, context = self.out.in_features, self.norm.normalized_shape[0]
        self.transformer = QueryTransformer(width, self.tokens, _LAYERS, vocabulary, length, context)

    def query_states(
        self,
        patches: Float[Tensor, "B n w"],
        *texts: Tensor,
        causal: bool = False,
        condition: Float[Tensor, "B W"] | None = None,
    ) -> tuple[Float[Tensor, "B K W"], Float[Tensor, "B L W"]]:
        """Return the states of the queries, and those of the tokens of texts.

        Args:
            patches: of pictures.
            texts: tokens, and which of them are no padding; no texts unless given.
            causal: whether queries read no token, and tokens no later one.
            condition: a vector that is added to every query and every token.
        """
        inside = patches.new_ones(patches.shape[:2]).bool()
        return self.transformer(self.norm(patches), inside, *texts, causal=causal, condition=condition)

    def forward(self, seen: Seen, asked: Float[Tensor, "B Q W"] | None = None) -> Given:
        return Given(self.out(self.query_states(seen.last)[0]))
