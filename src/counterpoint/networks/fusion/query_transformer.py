"""The query transformer of BLIP-2: learned queries that read states, alone or beside the tokens of a text."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ...pairwise.inputs import upcast
from ..caption_decoder import ZeroLinear, shifted, summed_log_likelihood
from ..towers.transformer import Embedding

PAPERS = dict.fromkeys(("blip-2", "coavt"), ("QueryTransformer",))


class QueryTransformer(nn.Module):
    """Queries that attend to themselves and, in every second layer, to states: transformers' ``Blip2QFormerModel``.

    Queries and tokens share the self-attention and have perceptrons of their own. In a pass with tokens all read each
    other, or the pass is causal: tokens read queries and earlier tokens, and queries read no token. A text alone is
    read both ways. All passes are in float32 at least.

    Args:
        width: of queries and tokens.
        queries: how many.
        layers: of the transformer.
        vocabulary: ids of tokens are below it. The start token is one more. 0 for queries alone.
        length: the most tokens.
        context: width of the states; that of queries unless given.

    Source: Li et al., "BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language
    Models" (2023), arXiv 2301.12597.
    """

    def __init__(
        self,
        width: int,
        queries: int,
        layers: int,
        vocabulary: int = 0,
        length: int = 0,
        context: int | None = None,
    ) -> None:
        from transformers import Blip2QFormerConfig, Blip2QFormerModel  # takes a second

        super().__init__()
        self.start = vocabulary
        config = Blip2QFormerConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=math.gcd(width, 4),
            intermediate_size=4 * width,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            cross_attention_frequency=2,
            encoder_hidden_size=context or width,
            use_qformer_text_input=vocabulary > 0,
        )
        self.model = Blip2QFormerModel(config)
        self.query = Embedding(queries, width, std=1.0)
        if vocabulary:
            self.token_embedding = Embedding(vocabulary + 1, width, std=1.0)
            self.position_embedding = Embedding(length, width, std=0.02)
            self.head = ZeroLinear(width, vocabulary)

    def forward(
        self,
        states: Float[Tensor, "B n V"],
        mask: Bool[Tensor, "B n"],
        tokens: Int[Tensor, "B L"] | None = None,
        token_mask: Bool[Tensor, "B L"] | None = None,
        causal: bool = False,
        condition: Float[Tensor, "B W"] | None = None,
    ) -> tuple[Float[Tensor, "B K W"], Float[Tensor, "B L W"]]:
        """Return the queries and the tokens behind the last layer.

        Args:
            states: that the queries attend to.
            mask: which of them are no padding.
            tokens: of texts; none unless given.
            token_mask: which of them are no padding.
            causal: whether queries read no token, and tokens no later one.
            condition: a vector that is added to every query and every token in front of the first normalisation.
        """
        x = self.query.weight.expand(len(states), -1, -1)
        count, seen = x.shape[1], None
        if tokens is not None and token_mask is not None:
            x = torch.cat([x, self._embedded(tokens)], 1)
            keys = torch.cat([token_mask.new_ones(len(x), count), token_mask], 1)
            reads = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device)
            if causal:
                reads[:, count:] = reads[:, count:].tril(-count)
            seen = (keys[:, None] & reads)[:, None]
        if condition is not None:
            x = x + upcast(condition)[:, None]
        of_states = {"encoder_hidden_states": upcast(states), "encoder_attention_mask": mask[:, None, None]}
        states = self._run(x, count, seen, **of_states)
        return states[:, :count], states[:, count:]

    def text_states(
        self, tokens: Int[Tensor, "B L"], token_mask: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B L W"]:
        """Return the tokens of texts behind the last layer, in a pass without queries."""
        return self._run(self._embedded(tokens), 0, token_mask[:, None, None])

    def log_likelihood(
        self,
        states: Float[Tensor, "B n V"],
        mask: Bool[Tensor, "B n"],
        targets: Int[Tensor, "B L"],
        target_mask: Bool[Tensor, "B L"],
    ) -> Float[Tensor, "B 2"]:
        """Return the sum of the log-probabilities of each text's tokens given states, and their number."""
        _, words = self(states, mask, shifted(targets, self.start), target_mask, causal=True)
        return summed_log_likelihood(self.head, words, targets, target_mask)

    def _embedded(self, tokens: Int[Tensor, "B L"]) -> Float[Tensor, "B L W"]:
        return self.token_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]

    def _run(
        self, x: Float[Tensor, "B m W"], queries: int, mask: Bool[Tensor, "B 1 _ m"] | None, **context: Tensor
    ) -> Float[Tensor, "B m W"]:
        """Return what the transformer makes of queries with tokens behind them."""
        if not len(x):  # which the model cannot reshape
            return x
        with torch.autocast(x.device.type, enabled=False):
            output = self.model(query_embeds=x, query_length=queries, attention_mask=mask, **context)
        return output.last_hidden_state
