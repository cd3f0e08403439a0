"""The query transformer of BLIP-2: learned queries that read states, alone or beside the tokens of a text."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..caption_decoder import ZeroLinear, summed_log_likelihood
from ..towers.transformer import Embedding

PAPERS = {"coavt": ("QueryTransformer",)}


class QueryTransformer(nn.Module):
    """Queries that attend to themselves and, in every second layer, to states: transformers' ``Blip2QFormerModel``.

    Queries and tokens share the self-attention and have perceptrons of their own. In a pass with tokens all read each
    other, or the pass is causal: tokens read queries and earlier tokens, and queries read no token.

    Args:
        width: of queries, tokens and states; a multiple of 4.
        queries: how many.
        layers: of the transformer.
        vocabulary: ids of tokens are below it. The start token is one more.
        length: the most tokens.

    Source: Li et al., "BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language
    Models" (2023), arXiv 2301.12597.
    """

    def __init__(self, width: int, queries: int, layers: int, vocabulary: int, length: int) -> None:
        from transformers import Blip2QFormerConfig, Blip2QFormerModel  # takes a second

        super().__init__()
        self.start = vocabulary
        config = Blip2QFormerConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            intermediate_size=4 * width,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            cross_attention_frequency=2,
            encoder_hidden_size=width,
            use_qformer_text_input=True,
        )
        self.model = Blip2QFormerModel(config)
        self.query = Embedding(queries, width, std=1.0)
        self.token_embedding = Embedding(vocabulary + 1, width, std=1.0)
        self.position_embedding = Embedding(length, width, std=0.02)
        self.head = ZeroLinear(width, vocabulary)

    def forward(
        self,
        states: Float[Tensor, "B n W"],
        mask: Bool[Tensor, "B n"],
        tokens: Int[Tensor, "B L"] | None = None,
        token_mask: Bool[Tensor, "B L"] | None = None,
        causal: bool = False,
    ) -> tuple[Float[Tensor, "B K W"], Float[Tensor, "B L W"]]:
        """Return the queries and the tokens behind the last layer.

        Args:
            states: that the queries attend to.
            mask: which of them are no padding.
            tokens: of texts; none unless given.
            token_mask: which of them are no padding.
            causal: whether queries read no token, and tokens no later one.
        """
        x = self.query.weight.expand(len(states), -1, -1)
        count, seen = x.shape[1], None
        if tokens is not None and token_mask is not None:
            words = self.token_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]
            x = torch.cat([x, words], 1)
            keys = torch.cat([token_mask.new_ones(len(x), count), token_mask], 1)
            reads = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device)
            if causal:
                reads[:, count:] = reads[:, count:].tril(-count)
            seen = (keys[:, None] & reads)[:, None]
        of_states = mask[:, None, None]
        states = self.model(
            query_embeds=x,
            query_length=count,
            attention_mask=seen,
            encoder_hidden_states=states,
            encoder_attention_mask=of_states,
        ).last_hidden_state
        return states[:, :count], states[:, count:]

    def log_likelihood(
        self,
        states: Float[Tensor, "B n W"],
        mask: Bool[Tensor, "B n"],
        targets: Int[Tensor, "B L"],
        target_mask: Bool[Tensor, "B L"],
    ) -> Float[Tensor, "B 2"]:
        """Return the sum of the log-probabilities of each text's tokens given states, and their number."""
        inputs = nn.functional.pad(targets[:, :-1], (1, 0), value=self.start)
        _, words = self(states, mask, inputs, target_mask, causal=True)
        return summed_log_likelihood(self.head, words, targets, target_mask)
