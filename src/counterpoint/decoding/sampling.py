"""Sampling that does not depend on the batch: noise of each prompt's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..types import Prompt
from .prompts import key_of

HIDING = 1 << 40
"""Distance between the seed of a sampling and that of draws of hidden tokens."""


def generators_of(prompts: Sequence[Prompt], seed: int) -> list[torch.Generator]:
    """Return a source of chance for each prompt, which follows from the seed and what the prompt says and shows."""
    return [torch.Generator().manual_seed(key_of(prompt, seed)) for prompt in prompts]


@final
class SamplingProcessor:
    """A last logits processor, after which the largest score is a sample: ``argmax_y log p(y) − log E_y``.

    ``E_y`` is exponential and drawn for each row by itself.
    """

    def __init__(self, temperature: float, top_p: float, generators: Sequence[torch.Generator]) -> None:
        self.temperature, self.top_p, self.generators = temperature, top_p, generators

    def __call__(self, input_ids: Int[Tensor, "b t"], scores: Float[Tensor, "b v"]) -> Float[Tensor, "b v"]:
        from transformers import TopPLogitsWarper

        scores = scores.float() / self.temperature
        if self.top_p < 1:
            scores = TopPLogitsWarper(self.top_p)(input_ids, scores)
        tiny = torch.finfo(torch.float32).tiny
        drawn = [
            torch.empty(scores.shape[1]).exponential_(generator=generator).clamp(min=tiny)
            for generator in self.generators
        ]
        return scores - torch.stack(drawn).log().to(scores.device)
