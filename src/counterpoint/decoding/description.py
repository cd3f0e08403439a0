"""The description that a model gives of a picture, made once and used for every question about the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .loop import check_version, own_loop
from .running import BranchCall

PAPERS = {"code-decoding": ("describe",), "vdgd": ("describe",)}


@dataclass(frozen=True)
class Description:
    """Descriptions of the pictures of a batch.

    Attributes:
        words: the token ids of each, without the end token.
        counts: how many distributions over the vocabulary each was read from: one a token, the end token too.
        highest: ``max_j log q_j(v)``, q_j the distribution of place j at temperature 1.
        total: ``Σ_j log q_j(v)``.
        passes: forward passes it took.
    """

    words: tuple[list[int], ...]
    counts: Int[Tensor, " b"]
    highest: Float[Tensor, "b v"]
    total: Float[Tensor, "b v"]
    passes: int

    @classmethod
    def of(cls, call: BranchCall) -> Description:
        """Return the description that ``on`` was given.

        Raises:
            ValueError: where it is none, or is of another number of pictures.
        """
        description = call.branch_inputs["description"]
        if not isinstance(description, cls):
            raise ValueError(
                f"description={type(description).__name__}: pass what counterpoint.decoding.describe returns"
            )
        if len(description.words) != call.prompts:
            raise ValueError(
                f"description has {len(description.words)} rows, and generate has {call.prompts}"
            )
        return description

    def row(self, row: int) -> Description:
        """Return the description of one picture; its passes are counted where it was made."""
        one = slice(row, row + 1)
        return Description((self.words[row],), self.counts[one], self.highest[one], self.total[one], 0)

    @classmethod
    def joined(cls, rows: Sequence[Description]) -> Description:
        """Return descriptions of one picture each as those of a batch."""
        places, highest, total = (
            torch.cat([getattr(row, name) for row in rows]) for name in ("counts", "highest", "total")
        )
        return cls(tuple(row.words[0] for row in rows), places, highest, total, passes=0)

    def support(self, reduction: Literal["max", "mean", "sum"] = "max") -> Float[Tensor, "b v"]:
        """Return each token's log-probability over the places of the description; −∞ for an empty description."""
        if reduction == "max":
            table = self.highest
        else:
            table = self.total if reduction == "sum" else self.total / self.counts[:, None]
        empty = torch.tensor([not words for words in self.words], device=table.device)
        return table.masked_fill(empty[:, None], -torch.inf)


def describe(model: Any, inputs: Mapping[str, Any], *, max_new_tokens: int = 512) -> Description:
    """Let a model describe pictures, greedily.

    Args:
        model: a vision-language model.
        inputs: what the processor made of the pictures and a prompt that asks for a detailed description.
        max_new_tokens: where a description is cut off. What it leaves out for that counts as not seen.

    Source: step 0 of CODE (arXiv 2406.01920) and pass 1 of VDGD (arXiv 2405.15683).
    """
    check_version()
    record = _Recorder()
    model.generate(
        **inputs, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, custom_generate=record.generate
    )
    words = tuple(row[: int(n)] for row, n in zip(record.tokens.tolist(), record.lengths, strict=True))
    return Description(words, record.counts, record.highest, record.total, record.passes)


class _Recorder:
    """Sees the raw logits of every step of the model's own loop."""

    highest: Float[Tensor, "b v"]
    total: Float[Tensor, "b v"]
    counts: Int[Tensor, " b"]
    tokens: Int[Tensor, "b t"]
    lengths: Int[Tensor, " b"]

    def __init__(self) -> None:
        self.passes = 0

    def generate(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **arguments: Any,
    ) -> Any:
        from transformers import LogitsProcessorList

        generation_config.return_dict_in_generate = False
        self.prompt = input_ids.shape[1]
        end = generation_config.eos_token_id
        self.end = torch.tensor([] if end is None else [end] if isinstance(end, int) else list(end))
        sequences = own_loop(model, generation_config)(
            model,
            input_ids,
            logits_processor=LogitsProcessorList([self.see, *logits_processor]),
            stopping_criteria=stopping_criteria,
            generation_config=generation_config,
            **arguments,
        )
        self.tokens = sequences[:, self.prompt :]
        self.lengths = self._running(self.tokens).sum(-1)
        return sequences

    def see(self, input_ids: Int[Tensor, "b t"], scores: Float[Tensor, "b v"]) -> Float[Tensor, "b v"]:
        log_q = scores.log_softmax(-1)
        if not self.passes:
            self.highest, self.total = log_q.clone(), torch.zeros_like(log_q)
            self.counts = torch.zeros(len(log_q), dtype=torch.long, device=log_q.device)
        generated = input_ids[:, self.prompt :]
        running = self._running(generated)[:, -1:] if generated.shape[1] else self.counts[:, None] == 0
        self.highest = torch.where(running, self.highest.maximum(log_q), self.highest)
        self.total = self.total + log_q.masked_fill(~running, 0.0)
        self.counts = self.counts + running[:, 0]
        self.passes += 1
        return scores

    def _running(self, generated: Int[Tensor, "b t"]) -> Tensor:
        """Mark the tokens that come before the first end token of their row."""
        return torch.isin(generated, self.end.to(generated)).cumsum(-1) == 0
