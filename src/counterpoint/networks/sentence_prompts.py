"""The P-Former: from a sentence to the vectors behind which a language model says it again."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .heads import Linear
from .towers.transformer import Embedding, TransformerBlock

PAPERS = {"p-former": ("SentencePrompts",)}


class SentencePrompts(nn.Module):
    """A transformer reads a sentence both ways, and linear layers make K vectors of its summary.

        h = the state in front of the sentence
        p_k = W_o tanh(W_p (W_k h)),   f = nz(W_f h)

    Args:
        vocabulary: ids of tokens are below it. Tokens for the summary and in place of a hidden token are two more.
        length: the most tokens.
        width: of states; that of the language model.
        tokens: K, whatever the length of the sentence.
        embedding: width of f.
        std: of the language model's vectors of words; the prompts begin at about this scale.

    Source: Jian et al., "Bootstrapping Vision-Language Learning with Decoupled Language Pre-training" (2023), arXiv
    2307.07063.
    """

    def __init__(
        self, vocabulary: int, length: int, width: int, tokens: int, embedding: int, std: float
    ) -> None:
        super().__init__()
        self.summary, self.mask, self.tokens = vocabulary, vocabulary + 1, tokens
        self.token_embedding = Embedding(vocabulary + 2, width, std=1.0)
        self.position_embedding = Embedding(length + 1, width, std=width**-0.5)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, math.gcd(width, 4), 2, causal=False) for _ in range(2)
        )
        self.norm = nn.LayerNorm(width)
        self.spread = Linear(width, tokens * width, bias=True)
        self.pooler = Linear(width, width, bias=True)
        self.out = Linear(width, width, std=std * width**-0.5, bias=True)
        self.embed = Linear(width, embedding, bias=True)

    def forward(
        self, tokens: Int[Tensor, "B L"], inside: Bool[Tensor, "B L"]
    ) -> tuple[Float[Tensor, "B K W"], Float[Tensor, "B d"]]:
        """Return the prompts of sentences, and their unit-norm embeddings.

        Args:
            tokens: of sentences.
            inside: which of them belong to the sentence; the others are not read.
        """
        tokens, inside = F.pad(tokens, (1, 0), value=self.summary), F.pad(inside, (1, 0), value=True)
        x = self.token_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, mask=inside)
        h = self.norm(x[:, 0])
        prompts = self.out(torch.tanh(self.pooler(self.spread(h).unflatten(1, (self.tokens, -1)))))
        return prompts, F.normalize(self.embed(h), dim=-1)
