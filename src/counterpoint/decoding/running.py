"""A branch while text is generated: its own prompt, its own cache, the generated tokens of everyone."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

CACHES = ("cache", "past_key_values", "cache_params")
"""Names that versions of transformers give the argument that holds a model's cache."""


@dataclass(frozen=True)
class BranchCall:
    """One call of ``generate``, as a branch sees it.

    Attributes:
        model: the model that encodes pictures.
        decoder: the model that generates; the same, except where ``generate`` hands over to a language model.
        inputs: what the method was bound to.
        branch_inputs: what else the branches need.
        config: the generation config for preparing a branch.
        rows: sequences that are generated at once: batch × beams or returned sequences.
    """

    model: Any
    decoder: Any
    inputs: Mapping[str, Any]
    branch_inputs: Mapping[str, Any]
    config: Any
    rows: int

    @property
    def prompts(self) -> int:
        """The prompts that the rows continue."""
        return self.rows // max(self.config.num_beams or 1, self.config.num_return_sequences or 1)


class BranchState(ABC):
    """The source of a branch's next logits.

    Attributes:
        passes: forward passes so far.
        positions: positions that went through the decoder so far, over all rows.
        cache: its own, if it has one.
    """

    passes: int = 0
    positions: int = 0
    cache: Any = None

    @abstractmethod
    def step(self, generated: Int[Tensor, "r t"], order: Int[Tensor, " r"] | None) -> Float[Tensor, "r v"]:
        """Return the logits after the generated tokens; ``order``: the row of the last step that each continues."""


@final
class ConstantBranch(BranchState):
    """The same logits at every step."""

    def __init__(self, logits: Float[Tensor, "r v"]) -> None:
        self.logits = logits

    def step(self, generated: Int[Tensor, "r t"], order: Int[Tensor, " r"] | None) -> Float[Tensor, "r v"]:
        return self.logits


@final
class ForwardBranch(BranchState):
    """A model that runs on a branch's inputs, prepared as its own ``generate`` prepares them.

    Args:
        call: the call it belongs to.
        name: of the branch, for errors.
        model: the user's own, or another with the same tokens.
        inputs: of the branch.
        unknown: what a model that knows fewer tokens reads for those that it lacks.
    """

    def __init__(
        self, call: BranchCall, name: str, model: Any, inputs: Mapping[str, Any], unknown: int | None = None
    ) -> None:
        self.unknown = unknown
        _check_takes_pictures(model, inputs)
        self._on_modules = {m: None for m in model.modules() if hasattr(m, "rope_deltas")}
        self._fresh = True
        with self._own_module_state():
            self.model, self.prompt, self.arguments = model.generate(
                **inputs, generation_config=call.config, custom_generate=_prepared
            )
        self.cache = cache_of(self.arguments)
        if len(self.prompt) != call.rows:
            raise ValueError(
                f"branch {name!r} has {len(self.prompt)} rows, and generate has {call.rows}: "
                "give every branch as many prompts as generate gets"
            )

    def step(self, generated: Int[Tensor, "r t"], order: Int[Tensor, " r"] | None) -> Float[Tensor, "r v"]:
        if order is not None:
            self._reorder(order)
        ids = torch.cat([self.prompt, generated], 1)
        if self.unknown is not None:
            ids = ids.masked_fill(ids >= self.model.get_input_embeddings().num_embeddings, self.unknown)
        with self._own_module_state():
            stage = self._stage(ids)
            inputs = self.model.prepare_inputs_for_generation(ids, **stage, **self.arguments)
            outputs = self.model(**inputs, return_dict=True)
        self.arguments = self.model._update_model_kwargs_for_generation(
            outputs, self.arguments, is_encoder_decoder=self.model.config.is_encoder_decoder
        )
        self.passes += 1
        self.positions += len(ids) * self._length(ids)
        self._fresh = False
        return outputs.logits[:, -1].to(ids.device, torch.float32)

    def _stage(self, ids: Int[Tensor, "r t"]) -> dict[str, Any]:
        """Return the arguments that tell the model where it stands, in the words of the transformers at hand."""
        from transformers import GenerationMixin

        if self._fresh and hasattr(self.model, "_get_initial_cache_position"):  # until 5.3 or so
            self.arguments = self.model._get_initial_cache_position(ids.shape[1], ids.device, self.arguments)
        continued = self.arguments.get("use_cache") and not self._fresh
        stage = {"is_first_iteration": self._fresh, "next_sequence_length": 1 if continued else None}
        known = inspect.signature(GenerationMixin.prepare_inputs_for_generation).parameters
        return {name: value for name, value in stage.items() if name in known}

    def _length(self, ids: Int[Tensor, "r t"]) -> int:
        if self.arguments.get("use_cache") and not self._fresh:
            return 1
        new = int(ids.shape[1] - self.prompt.shape[1])
        return prompt_length(self.model, self.prompt, self.arguments) + new

    def _reorder(self, order: Int[Tensor, " r"]) -> None:
        if not self.arguments.get("use_cache"):
            return
        cache = cache_of(self.arguments)
        if not hasattr(cache, "reorder_cache"):
            raise ValueError(
                f"{type(self.model).__name__} keeps its state in {type(cache).__name__}, which cannot be "
                "reordered, as beam search needs; pass num_beams=1 or use_cache=False"
            )
        cache.reorder_cache(order)

    @contextmanager
    def _own_module_state(self) -> Iterator[None]:
        """Put a branch's own state on modules where some models (Qwen2-VL) remember how far pictures move positions."""
        theirs = {module: module.rope_deltas for module in self._on_modules}
        if not self._fresh:
            _set(self._on_modules)
        try:
            yield
        finally:
            self._on_modules = {module: module.rope_deltas for module in theirs}
            _set(theirs)


def _check_takes_pictures(model: Any, inputs: Mapping[str, Any]) -> None:
    """Refuse pictures to a model that takes none, such as the language model that BLIP-2's generate calls."""
    taken = {*inspect.signature(model.forward).parameters, *inspect.signature(model.generate).parameters}
    for key in inputs:
        if key.startswith("pixel_values") and key not in taken:
            raise ValueError(
                f"{type(model).__name__} takes no {key}; if it is the language model inside a model with its own "
                "generate (BLIP-2, InstructBLIP), pass .on(inputs, model=model), else use a vision-language model"
            )


def _set(rope_deltas: Mapping[nn.Module, Any]) -> None:
    for module, value in rope_deltas.items():
        module.rope_deltas = value


def _prepared(
    model: Any,
    input_ids: Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    synced_gpus: bool = False,
    streamer: Any = None,
    **arguments: Any,
) -> tuple[Any, Tensor, dict[str, Any]]:
    """Hand back what ``generate`` has prepared for the model, in place of a decoding loop."""
    return model, input_ids, arguments


def cache_of(arguments: Mapping[str, Any]) -> Any:
    return next((arguments[name] for name in CACHES if arguments.get(name) is not None), None)


def prompt_length(model: Any, prompt: Int[Tensor, "r t"], arguments: Mapping[str, Any]) -> int:
    """Return the positions of the prompt in the decoder, which may be given as embeddings."""
    embeddings = arguments.get("inputs_embeds")
    if embeddings is None or model.config.is_encoder_decoder:
        return int(prompt.shape[1])
    return int(max(prompt.shape[1], embeddings.shape[1]))
