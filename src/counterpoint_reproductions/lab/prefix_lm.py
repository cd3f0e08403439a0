"""A language model that reads visual tokens before it speaks, small enough for a claim of minutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.networks.base import Tokenizer
from counterpoint.networks.init import seeded

from .descent import minimise

WIDTH, LAYERS, HEADS = 64, 2, 4


@final
class VisualReader(nn.Module):
    """A Llama whose first tokens are seen, and that writes what it sees.

        log p(statement | picture) = Σ_t log p(w_t | P(tokens of towers), w_<t)

    Args:
        project: P, from the tokens ``(n, places, d)`` of one or several towers to `WIDTH`; it is trained along.
        tokenizer: of the statements.
        seed: of the language model's weights.
    """

    def __init__(self, project: nn.Module, tokenizer: Tokenizer, seed: int) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        super().__init__()
        self.project, self.tokenizer = project, tokenizer
        config = LlamaConfig(
            vocab_size=tokenizer.vocabulary,
            hidden_size=WIDTH,
            intermediate_size=3 * WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            max_position_embeddings=128,
            tie_word_embeddings=True,
        )
        with seeded(seed, "language"):
            self.language = LlamaForCausalLM(config)

    def forward(
        self, seen: Sequence[Float[Tensor, "n places d"]], words: Int[Tensor, "n L"]
    ) -> Float[Tensor, "n L-1"]:
        """Return the log-probability of every word but the first, 0 for padding."""
        visual = self.project(*seen)
        embedded = self.language.get_input_embeddings()(words[:, :-1])
        logits = self.language(inputs_embeds=torch.cat([visual, embedded], 1)).logits[:, visual.shape[1] :]
        lost = F.cross_entropy(logits.transpose(1, 2), words[:, 1:], ignore_index=0, reduction="none")
        return -lost

    def train_on(
        self,
        seen: Sequence[Float[Tensor, "n places d"]],
        statements: Sequence[str],
        *,
        steps: int,
        batch: int,
        lr: float,
        seed: int,
    ) -> list[float]:
        """Learn by Adam to write the statement of each picture; return the loss of every step, in nats a word."""
        words = self.tokenizer(statements)

        def step(rng: np.random.Generator) -> Tensor:
            rows = torch.from_numpy(rng.choice(len(words), min(batch, len(words)), replace=False))
            spoken = words[rows]
            log_p: Tensor = self([t[rows] for t in seen], spoken)
            return -log_p.sum() / (spoken[:, 1:] != 0).sum()

        losses = minimise(step, self.train().parameters(), steps=steps, lr=lr, seed=seed)
        self.eval()
        return losses

    @torch.no_grad()
    def likelihoods(
        self, seen: Sequence[Float[Tensor, "n places d"]], statements: Sequence[str]
    ) -> Float[Tensor, " n"]:
        """Return the log-probability of one statement a picture."""
        parts = zip(
            torch.split(self.tokenizer(statements), 256),
            *(torch.split(t, 256) for t in seen),
            strict=True,
        )
        return torch.cat([self(features, words).sum(1) for words, *features in parts])
