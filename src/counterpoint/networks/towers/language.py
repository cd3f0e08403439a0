"""Causal language models as towers of conversations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ...decoding.running import CACHES
from ...pairwise.inputs import upcast
from ...registry import unknown
from ..base import Tower
from ..init import seeded
from ..state_space import PROJECTIONS, SelectiveMixer, SplitLinear, routed
from ..token_likelihood import shaped_logits, token_log_p
from .chat import EXCHANGE, TOKEN, Chat
from .parts.blocks import residual_blocks

Change = Callable[[Float[Tensor, "B L W"]], Float[Tensor, "B L W"]]
"""A function of the input of a layer."""
_STATE = 16
"""Numbers in the state of a channel of a Mamba."""
_CHUNK = 32
"""Tokens of which a Mamba-2 computes all pairs at once."""


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
    def recurrent(self) -> bool:
        """A state-space model: it has no positions, and no mask."""
        return "position_ids" not in inspect.signature(self.model.base_model.forward).parameters

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

    @property
    def logit_shape(self) -> tuple[float, float | None]:
        """The scale of the logits, and the cap that their hyperbolic tangent keeps them below, if any."""
        config = self.model.config
        scale = float(getattr(config, "logit_scale", None) or 1.0)
        scale /= float(getattr(config, "logits_scaling", None) or 1.0)
        cap = getattr(config, "final_logit_softcapping", None)
        return scale, float(cap) if cap else None

    def logits(self, states: Float[Tensor, "*n W"]) -> Float[Tensor, "*n V"]:
        """Return the logits of the token behind each state."""
        return shaped_logits(upcast(self.head(states)), *self.logit_shape)

    def log_p(self, states: Float[Tensor, "n W"], tokens: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the log-probability of each token behind its state, in tiles where there are many logits."""
        scale, cap = self.logit_shape
        return token_log_p(self.head, states, tokens, scale=scale, cap=cap)

    def embed(self, tokens: Int[Tensor, "B L"]) -> Float[Tensor, "B L W"]:
        """Return the vectors of tokens."""
        return self.model.get_input_embeddings()(tokens)

    def token_states(
        self,
        embedded: Float[Tensor, "B L W"],
        positions: Int[Tensor, "B L"] | None = None,
        mask: Bool[Tensor, "B L L"] | None = None,
        before: Mapping[int, Change] | None = None,
        of_pictures: Bool[Tensor, " L"] | None = None,
    ) -> Float[Tensor, "B L W"]:
        """Return the states that the head reads.

        Args:
            embedded: vectors of tokens, or others in their place.
            positions: of the vectors; 0, 1, 2 … unless given.
            mask: which vector (last axis) each one sees; those up to itself unless given.
            before: functions of the inputs of layers, by the layer's number.
            of_pictures: which vectors are of pictures, for a model with weights of their own for these.

        Raises:
            ValueError: for positions or a mask with a state-space model, which has neither.
        """
        if self.recurrent and (mask is not None or positions is not None):
            raise ValueError(
                f"the language model {self.name!r} reads tokens in their order into a state: it has no positions, and "
                "no token can be hidden from others; take a Transformer, such as llama"
            )
        options: dict[str, Any] = {} if positions is None else {"position_ids": positions}
        if mask is not None:
            hidden = embedded.new_zeros(mask.shape).masked_fill(~mask, torch.finfo(embedded.dtype).min)
            options["attention_mask"] = hidden[:, None]
        layers = self.layers
        handles = [
            layers[number].register_forward_pre_hook(partial(_changed, change), with_kwargs=True)
            for number, change in (before or {}).items()
        ]
        split = [layer for layer in self.model.modules() if isinstance(layer, SplitLinear)]
        try:
            with routed(split, of_pictures):
                output = self.model.base_model(inputs_embeds=embedded, use_cache=False, **options)
        finally:
            for handle in handles:
                handle.remove()
        return output.last_hidden_state

    @torch.no_grad()
    def attention(
        self, embedded: Float[Tensor, "B L W"]
    ) -> Iterator[tuple[Float[Tensor, "B heads L L"], Float[Tensor, "B L W"]]]:
        """Yield the attention of each layer, each vector's weights last, with the layer's input.

        The kernels that training and generation take return no weights. Others are in use for this pass alone.

        Raises:
            ValueError: for a state-space model.
        """
        if self.recurrent:
            raise ValueError(
                f"the language model {self.name!r} has no attention; take a Transformer, such as llama"
            )
        usual = self.model.config._attn_implementation
        self.model.set_attn_implementation("eager")
        try:
            output = self.model.base_model(
                inputs_embeds=embedded, use_cache=False, output_attentions=True, output_hidden_states=True
            )
        finally:
            self.model.set_attn_implementation(usual)
        yield from zip(output.attentions, output.hidden_states[:-1], strict=True)

    def last_states(
        self,
        embedded: Float[Tensor, "1 L W"],
        last: int,
        copies: int,
        around: AbstractContextManager[None] | None = None,
    ) -> Float[Tensor, "{copies} {last} W"]:
        """Return the states of the last vectors, several times behind one shared cache of all others.

        Args:
            embedded: vectors of tokens, or others in their place.
            last: vectors that are read several times; all others are read once.
            copies: how often.
            around: the context in which the last vectors are read.

        Raises:
            ValueError: for a state-space model, which has no cache of single tokens.
        """
        if self.recurrent:
            raise ValueError(
                f"the language model {self.name!r} reads tokens into a state: take a Transformer"
            )
        model = self.model.base_model
        cache = model(inputs_embeds=embedded[:, :-last], use_cache=True).past_key_values
        cache.batch_repeat_interleave(copies)
        # Later versions of transformers call the argument otherwise.
        known = inspect.signature(model.forward).parameters
        name = next(name for name in CACHES if name in known or name == "past_key_values")
        again = embedded[:, -last:].expand(copies, -1, -1)
        with around or nullcontext():
            output = model(inputs_embeds=again, use_cache=True, **{name: cache})
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
            hidden_size=width,
            intermediate_size=(8 * width // 3 + 15) // 16 * 16,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=chat.context + 1024,
            tie_word_embeddings=True,
            **_of_chat(chat),
        )
        with seeded(seed, "llama"):
            super().__init__(transformers.LlamaForCausalLM(config), chat)

    @property
    def sizes(self) -> Mapping[str, int | float | str]:
        return {"talk_width": self.width, "talk_layers": len(self.layers)}


class Mamba(LanguageTower):
    """A Mamba with random weights, whose head is tied to its vectors of tokens.

    Its mixers are `counterpoint.networks.state_space.SelectiveMixer`, which compute what those of transformers do, and
    on a processor in a fraction of their time.

    Args:
        chat: writes the conversations.
        width: of states.
        layers: residual blocks.
        seed: of the weights.
    """

    def __init__(self, chat: Chat, width: int, layers: int, seed: int) -> None:
        import transformers

        config = transformers.MambaConfig(
            hidden_size=width, state_size=_STATE, num_hidden_layers=layers, **_of_chat(chat)
        )
        with seeded(seed, "mamba"):
            model: Any = transformers.MambaForCausalLM(config)
        for block in model.backbone.layers:
            block.mixer = SelectiveMixer(block.mixer)
        super().__init__(model, chat)

    @property
    def sizes(self) -> Mapping[str, int | float | str]:
        return {"talk_width": self.width, "talk_layers": len(self.layers)}

    def split(self, projections: Sequence[str]) -> None:
        """Give projections weights of their own for tokens of pictures, which begin as those of texts.

        Args:
            projections: some of ``in``, ``x``, ``dt`` and ``out``.

        Raises:
            UnknownNameError: for another projection.
        """
        for name in projections:
            if name not in PROJECTIONS:
                raise unknown("projection of a Mamba", name, PROJECTIONS)
        for mixer in self.model.modules():
            if isinstance(mixer, SelectiveMixer):
                mixer.split(projections)


class Mamba2(LanguageTower):
    """A Mamba-2 with random weights, whose head is tied to its vectors of tokens.

    Args:
        chat: writes the conversations.
        width: of states; a multiple of 8 from 16 on.
        layers: residual blocks.
        seed: of the weights.

    Raises:
        ValueError: for a width that its heads do not divide.
    """

    def __init__(self, chat: Chat, width: int, layers: int, seed: int) -> None:
        import transformers

        head = min(16, 2 * width)
        if 2 * width % head:
            raise ValueError(f"towers.talk_width={width} must be a multiple of {head // 2} for a mamba2")
        config = transformers.Mamba2Config(
            hidden_size=width,
            state_size=_STATE,
            num_hidden_layers=layers,
            head_dim=head,
            num_heads=2 * width // head,
            n_groups=1,
            chunk_size=_CHUNK,
            tie_word_embeddings=True,
            **_of_chat(chat),
        )
        with seeded(seed, "mamba2"):
            super().__init__(transformers.Mamba2ForCausalLM(config), chat)

    @property
    def sizes(self) -> Mapping[str, int | float | str]:
        return {"talk_width": self.width, "talk_layers": len(self.layers)}


def _of_chat(chat: Chat) -> dict[str, Any]:
    return {
        "vocab_size": chat.vocabulary,
        "pad_token_id": chat.padding,
        "bos_token_id": chat.tokenizer.bos_token_id,
        "eos_token_id": chat.end,
    }


RANDOM = {"llama": Llama, "mamba": Mamba, "mamba2": Mamba2}
"""Language models with random weights, by name."""
