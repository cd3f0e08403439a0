"""Texts about pictures written token by token by the generation of ``transformers``: greedy, beams, and sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import (
    GenerationConfig,
    GenerationMixin,
    LogitsProcessorList,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutput

from ..decoding.sampling import SamplingProcessor

NextLogits = Callable[[Int[Tensor, "B L"], Float[Tensor, "B P W"]], Float[Tensor, "B V"]]
"""From the tokens so far and the states of pictures to logits of the next token."""


class _Generator(PreTrainedModel, GenerationMixin):  # type: ignore[misc] # untyped
    """A model of transformers around a function; it has no weights of its own."""

    main_input_name = "input_ids"
    device = torch.device("cpu")

    def __init__(self, next_logits: NextLogits, device: torch.device) -> None:
        super().__init__(PretrainedConfig(is_encoder_decoder=False))
        self.next_logits, self.device = next_logits, device

    # Checks of transformers read these names.
    def forward(
        self, input_ids: Tensor, context: Tensor, attention_mask: Any = None, **kwargs: Any
    ) -> CausalLMOutput:
        return CausalLMOutput(logits=self.next_logits(input_ids, context)[:, None])

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, context: Tensor, **kwargs: Any
    ) -> dict[str, Any]:
        return {"input_ids": input_ids, "context": context}


@torch.no_grad()
def generate(
    next_logits: NextLogits,
    context: Float[Tensor, "B P W"],
    *,
    prompts: Int[Tensor, "B L"],
    end: int,
    length: int,
    beams: int = 1,
    sample: bool = False,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    generators: Sequence[torch.Generator] | None = None,
) -> list[Int[Tensor, " _"]]:
    """Return the tokens that are written behind the prompt of each picture, without the end token.

    Args:
        next_logits: of a decoder.
        context: states of the pictures.
        prompts: the tokens that are there; of a captioner the start token.
        end: id of the token that a text ends in.
        length: tokens after which a text is cut off.
        beams: texts that are followed at once; 1 takes the likeliest token.
        sample: draws tokens.
        temperature: of the sampling.
        top_p: draws from the likeliest tokens that together have this probability.
        seed: of the sampling.
        generators: one for each text, which its sampling draws from in place of the seed, so that a text does not
            depend on the others; with one beam.
    """
    own = sample and generators is not None
    config = GenerationConfig(
        eos_token_id=end,
        pad_token_id=end,
        max_new_tokens=length,
        num_beams=beams,
        do_sample=sample and not own,
        use_cache=False,
        **({"temperature": temperature, "top_p": top_p, "top_k": 0} if sample and not own else {}),
    )
    processors = (
        [SamplingProcessor(temperature, top_p, generators)] if sample and generators is not None else []
    )
    devices = [context.device] if context.is_cuda else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        written = _Generator(next_logits, context.device).generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            context=context,
            generation_config=config,
            logits_processor=LogitsProcessorList(processors),
        )[:, prompts.shape[1] :]
    ended = (written == end).cumsum(1) > 0
    return [tokens[~stopped] for tokens, stopped in zip(written, ended, strict=True)]
