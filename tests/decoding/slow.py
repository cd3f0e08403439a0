"""Decoding as slow loops: one row at a time, no cache, the whole sequence at every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from fixtures.tiny_vlms import KINDS, PAD, Inputs, Kind, tiny

Combine = Callable[[Sequence[Tensor]], Tensor]
"""From the logits ``(v,)`` of the branches, the user's own first, to scores ``(v,)``."""


def next_logits(kind: Kind, model: Any, inputs: Inputs, generated: Sequence[int]) -> Tensor:
    """Logits ``(v,)`` after the prompt of one row and what was generated."""
    new = torch.tensor([list(generated)], dtype=torch.long)
    network = model if "pixel_values" in inputs or not kind.hands_over else model.language_model
    if (
        network.config.is_encoder_decoder
        or getattr(network.config, "text_config", network.config).is_encoder_decoder
    ):
        start = torch.tensor([[PAD]])
        with torch.no_grad():
            return network(**inputs, decoder_input_ids=torch.cat([start, new], 1)).logits[0, -1].double()
    ids = torch.cat([inputs["input_ids"], new], 1)
    longer = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "mm_token_type_ids" in inputs:
        longer["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, new.shape[1]))
    with torch.no_grad():
        return network(**longer, use_cache=False).logits[0, -1].double()


@cache
def sound(name: str) -> tuple[bool, ...]:
    """Return the values of ``use_cache`` for which transformers decodes a padded batch as the slow loop does.

    4.56 does not with a cache for Qwen2-VL, 5.0 to 5.3 not without one for SmolVLM; newer versions always do.
    """
    kind, model = KINDS[name], tiny(name)
    rows = [kind.row(1, length=5), kind.row(2, length=3)]
    expected = [greedy(kind, model, [row], lambda logits: logits[0], 6) for row in rows]
    found = tuple(
        use_cache
        for use_cache in (True, False)
        if model.generate(**kind.batch(rows), do_sample=False, max_new_tokens=6, use_cache=use_cache)[
            :, -6:
        ].tolist()
        == expected
    )
    assert found, f"this version of transformers decodes {name} wrongly with and without a cache"
    return found


def greedy(kind: Kind, model: Any, branches: Sequence[Inputs], combine: Combine, steps: int) -> list[int]:
    generated: list[int] = []
    for _ in range(steps):
        scores = combine([next_logits(kind, model, inputs, generated) for inputs in branches])
        generated.append(int(scores.argmax()))
    return generated


def sampled(
    kind: Kind, model: Any, rows: Sequence[Sequence[Inputs]], combine: Combine, steps: int, temperature: float
) -> list[list[int]]:
    """One token for all rows is drawn at a time, as transformers does; seed torch before."""
    generated: list[list[int]] = [[] for _ in rows]
    for _ in range(steps):
        scores = torch.stack(
            [
                combine([next_logits(kind, model, inputs, done) for inputs in branches])
                for branches, done in zip(rows, generated, strict=True)
            ]
        )
        drawn = torch.multinomial((scores / temperature).softmax(-1).float(), 1)
        for done, token in zip(generated, drawn[:, 0].tolist(), strict=True):
            done.append(token)
    return generated


def beam(
    kind: Kind, model: Any, branches: Sequence[Inputs], combine: Combine, steps: int, width: int
) -> list[int]:
    """The likeliest of ``width`` running sequences, without an end token."""
    running: list[tuple[float, list[int]]] = [(0.0, [])]
    for _ in range(steps):
        longer = []
        for score, done in running:
            log_p = combine([next_logits(kind, model, inputs, done) for inputs in branches]).log_softmax(-1)
            longer += [(score + float(p), [*done, token]) for token, p in enumerate(log_p)]
        running = sorted(longer, key=lambda pair: -pair[0])[:width]
    return running[0][1]
