"""Causal language models as towers of conversations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..base import Tower
from ..init import seeded
from .chat import EXCHANGE, TOKEN, Chat
from .parts.blocks import residual_blocks

Change = Callable[[Float[Tensor, "B L W"]], Float[Tensor, "B L W"]]
"""A function of the input of a layer."""


class LanguageTower(Tower):
    """A causal language model of transformers, read at the last token of a conversation.

    Args:
        model: with a head over the vocabulary.
        chat: writes the conversations.
    """

    modality: ClassVar[str] = "talk"
    untuned: ClassVar[tuple[str, ...]] = ("model.lm_head",)

    def __init__(self, model: Any, chat: Chat) -> None:
        super().__init__()
        self.model, self.chat = model, chat
        self.width = int(model.config.hidden_size)
        self.weights_set = True

    @property
    def input(self) -> Chat:
        return self.chat

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The residual blocks."""
        return residual_blocks(self.model)

    @property
    def head(self) -> nn.Linear:
        """The layer from states to logits over the vocabulary."""
        head = self.model.get_output_embeddings()
        assert isinstance(head, nn.Linear)
        return head

    def embed(self, tokens: Int[Tensor, "B L"]) -> Float[Tensor, "B L W"]:
        """Return the vectors of tokens."""
        return self.model.get_input_embeddings()(tokens)

    def token_states(
        self,
        embedded: Float[Tensor, "B L W"],
        positions: Int[Tensor, "B L"] | None = None,
        mask: Bool[Tensor, "B L L"] | None = None,
        before: Mapping[int, Change] | None = None,
    ) -> Float[Tensor, "B L W"]:
        """Return the states that the head reads.

        Args:
            embedded: vectors of tokens, or others in their place.
            positions: of the vectors; 0, 1, 2 … unless given.
            mask: which vector (last axis) each one sees; those up to itself unless given.
            before: functions of the inputs of layers, by the layer's number.
        """
        options: dict[str, Any] = {}
        if mask is not None:
            hidden = embedded.new_zeros(mask.shape).masked_fill(~mask, torch.finfo(embedded.dtype).min)
            options["attention_mask"] = hidden[:, None]
        layers = self.layers
        handles = [
            layers[number].register_forward_pre_hook(partial(_changed, change), with_kwargs=True)
            for number, change in (before or {}).items()
        ]
        try:
            output = self.model.base_model(
                inputs_embeds=embedded, position_ids=positions, use_cache=False, **options
            )
        finally:
            for handle in handles:
                handle.remove()
        return output.last_hidden_state

    def states(self, inputs: Int[Tensor, "B 3 L"]) -> Float[Tensor, "B t width"]:
        inputs = trimmed(inputs)
        return self.token_states(self.embed(inputs[:, TOKEN])) * (inputs[:, EXCHANGE, :, None] > 0)

    def forward(self, inputs: Int[Tensor, "B 3 L"]) -> Float[Tensor, "B width"]:
        states = self.states(inputs)
        last = (inputs[:, EXCHANGE] > 0).sum(1) - 1
        return states[torch.arange(len(states), device=states.device), last.clamp_min(0)]


def trimmed(inputs: Int[Tensor, "B 3 L"]) -> Int[Tensor, "B 3 t"]:
    """Return conversations without the places that are padding in all of them."""
    if inputs.is_meta:
        return inputs
    used = (inputs[:, EXCHANGE] > 0).any(0).sum()
    return inputs[:, :, : max(int(used), 1)]


def _changed(
    change: Change, layer: nn.Module, args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if args:
        return (change(args[0]), *args[1:]), options
    return args, {**options, "hidden_states": change(options["hidden_states"])}


class Llama(LanguageTower):
    """A Llama with random weights, whose head is tied to its vectors of tokens.

    Args:
        chat: writes the conversations.
        width: of states; a multiple of 4.
        layers: residual blocks.
        seed: of the weights.

    Raises:
        ValueError: for a width that its heads do not divide.
    """

    def __init__(self, chat: Chat, width: int, layers: int, seed: int) -> None:
        import transformers

        heads = max(1, width // 32)
        if width % (2 * heads):
            raise ValueError(f"towers.talk_width={width} must be a multiple of {2 * heads} for {heads} heads")
        config = transformers.LlamaConfig(
            vocab_size=chat.vocabulary,
            hidden_size=width,
            intermediate_size=(8 * width // 3 + 15) // 16 * 16,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=chat.context + 1024,
            tie_word_embeddings=True,
            pad_token_id=chat.padding,
            bos_token_id=chat.tokenizer.bos_token_id,
            eos_token_id=chat.end,
        )
        with seeded(seed, "llama"):
            super().__init__(transformers.LlamaForCausalLM(config), chat)

    @property
    def sizes(self) -> Mapping[str, int | float | str]:
        return {"talk_width": self.width, "talk_layers": len(self.layers)}
