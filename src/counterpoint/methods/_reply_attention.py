"""Where in the pictures of a request a model attends as it writes a reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..networks.towers.chat import EXCHANGE, REPLY, TOKEN
from ..networks.towers.language import trimmed
from ..pairwise.inputs import upcast
from ..types import Prompt, ReplyAttention

if TYPE_CHECKING:
    from ._speaking import SpeakingMethod

SINK = 10.0
"""A picture's token whose norm is so many times the median of its layer is an attention sink and no content."""
_AT_ONCE = 32


@torch.no_grad()
def reply_attention(
    model: SpeakingMethod, prompts: Sequence[Prompt], replies: Sequence[str]
) -> list[ReplyAttention]:
    """Return the attention to the tokens of pictures; see `SpeakingMethod.attention`.

    The mean is over all heads of the second half of the layers, from the middle one on, and over the positions that
    predict the reply's tokens. Tokens of words and the first token count nowhere. A picture's token that is a sink in
    one of these layers is left out.
    """
    if any(prompt.picture is None for prompt in prompts):
        raise ValueError("attention to pictures is asked of prompts with a picture, and one has none")
    if any(turn.picture is not None for prompt in prompts for turn in prompt.turns):
        raise ValueError("attention is that to the pictures of the last request, and an earlier turn has one")
    was_training = model.training
    model.eval()
    try:
        return [
            one
            for start in range(0, len(prompts), _AT_ONCE)
            for one in _attention(model, prompts[start : start + _AT_ONCE], replies[start : start + _AT_ONCE])
        ]
    finally:
        model.train(was_training)


def _attention(
    model: SpeakingMethod, prompts: Sequence[Prompt], replies: Sequence[str]
) -> list[ReplyAttention]:
    language, speaker, count = model.language, model.speaker, len(model.pictures)
    rows = [model._conversation(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)]
    talk = language.chat(rows).to(model._device)
    talk[:, REPLY] *= talk[:, EXCHANGE] == talk[:, EXCHANGE].amax(1, keepdim=True)
    given = model.given(model._patches([prompt.picture for prompt in prompts]), talk)
    if given.before:
        raise ValueError(
            f"{type(speaker.bridge).__name__} changes layers of the language model, so that attention is not all that "
            "it reads of pictures: take another bridge"
        )
    read = trimmed(talk)
    embedded, tokens = language.embed(read[:, TOKEN]), given.tokens
    opening, width = language.chat.opening, tokens.shape[1]
    whole = torch.cat([embedded[:, :opening], tokens.to(embedded.dtype), embedded[:, opening:]], 1)
    layers = list(language.attention(whole))
    used = layers[len(layers) // 2 :]
    sinks = torch.stack([_sinks(states[:, opening : opening + width]) for _, states in used]).any(0)
    mean = torch.stack([upcast(of).mean(1) for of, _ in used]).mean(0)[:, :, opening : opening + width]
    # A token is predicted by the one before it.
    spoken = torch.zeros(mean.shape[:2], dtype=torch.bool, device=mean.device)
    spoken[:, opening + width - 1 : -1] = read[:, REPLY, opening:] > 0
    weights = torch.stack([of[at].mean(0) for of, at in zip(mean, spoken, strict=True)])
    weights = weights.masked_fill(sinks, torch.nan).reshape(len(weights), count, -1)
    h, w = speaker.bridge.grid
    placed = weights if speaker.bridge.placed else weights.nansum(2, keepdim=True)
    weights = placed.reshape(len(weights), count, *((h, w) if speaker.bridge.placed else (1, 1)))
    log_p = model._likelihoods(talk, given)
    lengths = (talk[:, REPLY] > 0).sum(1).clamp_min(1)
    likely = (log_p.sum(1) / lengths).tolist()
    return [ReplyAttention(of.float().cpu(), value) for of, value in zip(weights, likely, strict=True)]


def _sinks(states: Float[Tensor, "B n W"]) -> Bool[Tensor, "B n"]:
    norms = upcast(states).norm(dim=-1)
    return norms > SINK * norms.median(1, keepdim=True).values
