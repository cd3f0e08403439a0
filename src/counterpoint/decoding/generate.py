"""The engine: all branches in step with the model's own decoding loop."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..registry import unknown
from .chooser import Chooser
from .combine import combine, comparable
from .loop import check_version, own_loop
from .running import CACHES, BranchCall, BranchState, cache_of, prompt_length

OWN = "own"
"""Name of the user's own input in the cost report."""


@dataclass(frozen=True)
class Cost:
    """The cost of one call of ``generate``.

    Attributes:
        passes: forward passes of each branch, by name; ``"own"`` is what plain decoding takes for these tokens.
        positions: positions that went through the decoder, over all rows, likewise.
    """

    passes: Mapping[str, int]
    positions: Mapping[str, int]

    @property
    def relative_passes(self) -> float:
        """Forward passes per forward pass of plain decoding.

        >>> Cost({"own": 10, "noise": 10}, {"own": 600, "noise": 600}).relative_passes
        2.0
        """
        return sum(self.passes.values()) / self.passes[OWN]

    @property
    def relative_positions(self) -> float:
        """Decoder positions per position of plain decoding."""
        return sum(self.positions.values()) / self.positions[OWN]


@final
class BoundDecoding:
    """A method bound to inputs: what ``custom_generate=`` takes.

    The user's own input runs through the loop that ``generate`` would have run; a logits processor before all
    others runs the further branches on the same tokens and returns the combination.

    Attributes:
        cost: of the last call.
        weights: of the last call: what each further branch weighed on average over its steps and rows.
    """

    cost: Cost | None = None
    weights: Mapping[str, float] | None = None

    def __init__(
        self,
        method: Chooser,
        inputs: Mapping[str, Any],
        branch_inputs: Mapping[str, Any],
        model: Any = None,
        streamer: Any = None,
    ) -> None:
        check_version()
        name = type(method).__name__
        if not isinstance(inputs, Mapping):
            raise ValueError(
                f"{name}.on binds what generate is given, as the processor returns it (input_ids, pixel_values …), "
                f"got {type(inputs).__name__}; write .on(inputs)"
            )
        needed = {branch.needs for branch in method.branches() if branch.needs is not None}
        for key in branch_inputs:
            if key not in needed:
                raise unknown(f"argument of {name}.on", key, needed)
        if missing := sorted(needed - set(branch_inputs)):
            raise ValueError(f"{name} needs {missing[0]}=…; pass .on(inputs, {missing[0]}=…)")
        for inside in (inputs, *(value for value in branch_inputs.values() if isinstance(value, Mapping))):
            if held := [key for key in CACHES if inside.get(key) is not None]:
                raise ValueError(
                    f"the inputs hold a cache ({held[0]}), which branches cannot share; bind inputs without it"
                )
        self.method, self.inputs, self.branch_inputs = method, inputs, branch_inputs
        self.model, self.streamer = model, streamer

    def __call__(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        streamer: Any = None,
        **arguments: Any,
    ) -> Any:
        """Run the decoding: ``generate`` calls this method in place of its own loop.

        Raises:
            ValueError: for beams with a method that forbids them, another generation mode, inputs that are not
                those that ``generate`` was given, pictures that cannot be found or changed, or a cache that is
                shared or cannot be reordered.
        """
        from transformers import LogitsProcessorList

        loop = own_loop(model, generation_config, streamer or self.streamer)
        beams = generation_config.num_beams or 1
        if beams > 1 and not self.method.beams:
            name = type(self.method).__name__
            raise ValueError(f"{name} gives no score of a whole sequence; num_beams must be 1")
        self._check_same(model, input_ids)
        call = BranchCall(
            model=model if self.model is None else self.model,
            decoder=model,
            inputs=self.inputs,
            branch_inputs=self.branch_inputs,
            config=_branch_config(generation_config, input_ids.shape[1]),
            rows=len(input_ids),
        )
        runs = [branch.open(call) for branch in self.method.branches()]
        if any(run.cache is not None and run.cache is cache_of(arguments) for run in runs):
            raise ValueError(
                f"{type(model).__name__} hands out one cache for all branches; choose another cache_implementation"
            )
        together = _Together(self.method, runs, input_ids.shape[1], beams)
        if self.streamer is not None:
            self.streamer.put(input_ids.cpu())
        result = loop(
            model,
            input_ids,
            logits_processor=LogitsProcessorList([together, *logits_processor]),
            stopping_criteria=stopping_criteria,
            generation_config=generation_config,
            **arguments,
        )
        names = _distinct(branch.name for branch in self.method.branches())
        self.weights = dict(zip(names, (total / together.steps for total in together.weights), strict=True))
        length = prompt_length(model, input_ids, arguments)
        later = 1 if arguments.get("use_cache") else length + together.steps / 2
        plain_positions = len(input_ids) * round(length + (together.steps - 1) * later)
        self.cost = Cost(
            {OWN: together.steps} | dict(zip(names, (run.passes for run in runs), strict=True)),
            {OWN: plain_positions} | dict(zip(names, (run.positions for run in runs), strict=True)),
        )
        return result

    def _check_same(self, model: Any, prompt: Int[Tensor, "r t"]) -> None:
        """Refuse other inputs than those of ``generate``: a method bound to others would contrast two questions."""
        ids = self.inputs.get("input_ids")
        if model.config.is_encoder_decoder or not isinstance(ids, Tensor) or not prompt.shape[1]:
            return
        ids = ids.repeat_interleave(max(1, len(prompt) // max(1, len(ids))), 0)
        if ids.shape != prompt.shape or not torch.equal(ids.to(prompt.device), prompt):
            raise ValueError(
                f"the method is bound to other input_ids, {tuple(ids.shape)} with beams, than generate was given, "
                f"{tuple(prompt.shape)}; bind what you pass: generate(**inputs, custom_generate=method.on(inputs))"
            )


def _distinct(names: Iterable[str]) -> list[str]:
    """Make names distinct, as ``noise`` and ``noise#2``."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return result


@final
class _Together:
    """The logits processor that runs the further branches and combines all."""

    def __init__(self, method: Chooser, runs: Sequence[BranchState], prompt: int, beams: int) -> None:
        self.method, self.runs, self.prompt, self.beams = method, runs, prompt, beams
        self.before: Int[Tensor, "r t"] | None = None
        self.steps = 0
        self.weights = [0.0] * len(runs)

    def __call__(self, input_ids: Int[Tensor, "r t"], scores: Float[Tensor, "r v"]) -> Float[Tensor, "r v"]:
        generated = input_ids[:, self.prompt :]
        order = self._order(generated)
        others = [self._as_scores(comparable(run.step(generated, order), scores)) for run in self.runs]
        keep = self.method.keep(scores, others) & ~scores.isneginf()
        weights = self.method.weights(scores, others)
        combined = combine(scores, others, weights).masked_fill(~keep, -torch.inf)
        if not combined.amax(-1).isfinite().all():
            raise ValueError(
                f"step {self.steps}: {type(self.method).__name__} leaves no token with a finite score; "
                "the model's logits are not finite, or the method's weights are too large"
            )
        self.before = generated
        self.steps += 1
        self.weights = [
            total + float(torch.as_tensor(weight, dtype=torch.float32).mean())
            for total, weight in zip(self.weights, weights.others, strict=True)
        ]
        return combined.log_softmax(-1) if self.beams > 1 else combined

    def _as_scores(self, logits: Float[Tensor, "r w"]) -> Float[Tensor, "r w"]:
        """Return a branch's logits as the loop gives the user's own: beam search scores log-probabilities."""
        return logits.log_softmax(-1) if self.beams > 1 else logits

    def _order(self, generated: Int[Tensor, "r t"]) -> Int[Tensor, " r"] | None:
        """Find the row of the previous step that each row continues, by its tokens.

        Rows of a beam that agree in their tokens agree in everything.
        """
        if self.beams == 1 or self.before is None:
            return None
        groups = (len(generated) // self.beams, self.beams, self.before.shape[1])
        now, before = generated[:, :-1].reshape(groups), self.before.reshape(groups)
        same = (now[:, :, None] == before[:, None]).all(-1).int().argmax(-1)
        first = torch.arange(len(now), device=same.device)[:, None] * self.beams
        return torch.flatten(same + first)


def _branch_config(config: Any, prompt: int) -> Any:
    """Return the branches' configuration: as the call itself, for as many tokens after a prompt of their own length."""
    config = copy.deepcopy(config)
    config.max_new_tokens, config.max_length = config.max_length - prompt, None
    config.min_new_tokens, config.min_length, config.stop_strings = None, None, None
    config.return_dict_in_generate = config.output_attentions = config.output_hidden_states = False
    config.output_scores = config.output_logits = False
    if "static" in str(config.cache_implementation):
        config.cache_implementation = None  # some versions keep one static cache on the model, for all
    return config
