"""How likely a vision-language model of transformers finds given tokens behind a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

_FILLS = {"attention_mask": 1, "mm_token_type_ids": 0, "token_type_ids": 0}
"""Inputs with a number for each token, and that of a token of text."""


@torch.no_grad()
def tokens_log_p(model: Any, inputs: Mapping[str, Any], tokens: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return the log-probability of each token, those before it given, by the model's own ``forward``.

    Args:
        model: whose logits have a place for each input token.
        inputs: of one prompt, without padding.
        tokens: that follow the prompt.

    Raises:
        ValueError: for a model whose logits have other places, and for inputs of several prompts.
    """
    ids = inputs["input_ids"]
    if len(ids) != 1:
        raise ValueError(f"the inputs are of {len(ids)} prompts: give those of one")
    tokens = tokens.to(ids.device)
    longer = {**inputs, "input_ids": torch.cat([ids, tokens[None]], 1)}
    for name, fill in _FILLS.items():
        if name in inputs:
            longer[name] = torch.cat([inputs[name], inputs[name].new_full((1, len(tokens)), fill)], 1)
    logits = model(**longer, use_cache=False).logits
    if logits.shape[1] != longer["input_ids"].shape[1]:
        raise ValueError(
            f"{type(model).__name__} has {logits.shape[1]} logits for {longer['input_ids'].shape[1]} tokens, so that "
            "it is not known which of them belong to the reply"
        )
    predicted = logits[0, ids.shape[1] - 1 : -1].float().log_softmax(-1)
    return predicted.gather(1, tokens[:, None])[:, 0]
