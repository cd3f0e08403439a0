"""Replies of models of transformers while some of a picture's tokens are hidden from all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from .sampling import SamplingProcessor


@torch.no_grad()
def complete_hidden(
    model: Any,
    inputs: Mapping[str, Any],
    *,
    hidden: float,
    generators: Sequence[torch.Generator],
    max_new_tokens: int,
    drawn: Sequence[SamplingProcessor],
) -> tuple[Int[Tensor, "b t"], int]:
    """Return the new tokens, and the number of forward passes.

    Hidden tokens are no keys of any later query in any layer. Positions count them all the same, so that rotary phases
    are those of the whole prompt.

    Args:
        model: a vision-language model.
        inputs: of the model, padded on the left.
        hidden: share of the tokens of pictures that are hidden, drawn for each row.
        generators: a source of chance for each row.
        max_new_tokens: where a reply is cut off.
        drawn: the sampling; none takes the likeliest token.

    Raises:
        ValueError: for a model that does not name the token of a picture, or that has positions of several dimensions.
    """
    kind, image_token = type(model).__name__, getattr(model.config, "image_token_id", None)
    if image_token is None or hasattr(model.base_model, "get_rope_index"):
        reason = (
            "names no token of a picture" if image_token is None else "counts positions along several axes"
        )
        raise ValueError(f"{kind} {reason}, so that nothing of a picture can be hidden from it")
    given = dict(inputs)
    ids, mask = given.pop("input_ids"), given.pop("attention_mask")
    seen = mask.clone()
    for row, of_picture, generator in zip(seen, ids == image_token, generators, strict=True):
        # By the place among the picture's tokens, so that padding changes no draw.
        chance = torch.rand(int(of_picture.sum()), generator=generator)
        row[of_picture] *= (chance >= hidden).to(row)
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    ends = model.generation_config.eos_token_id
    ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    output = model(input_ids=ids, attention_mask=seen, position_ids=positions, use_cache=True, **given)
    ended, made = torch.zeros(len(ids), dtype=torch.bool, device=ids.device), list[Tensor]()
    while True:
        scores = output.logits[:, -1].float()
        for process in drawn:
            scores = process(ids, scores)
        token = torch.where(ended, ends[0] if ends else 0, scores.argmax(1))
        made.append(token)
        ended |= torch.isin(token, torch.tensor(ends, dtype=token.dtype, device=token.device))
        if bool(ended.all()) or len(made) == max_new_tokens:
            return torch.stack(made, 1), len(made)
        ids, seen = torch.cat([ids, token[:, None]], 1), torch.cat([seen, torch.ones_like(seen[:, :1])], 1)
        positions = positions[:, -1:] + 1
        output = model(
            input_ids=token[:, None],
            attention_mask=seen,
            position_ids=positions,
            past_key_values=output.past_key_values,
            use_cache=True,
        )
