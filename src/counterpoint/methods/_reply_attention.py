"""Where in the pictures of a request a language model attends as it writes a reply."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..networks.bridges.base import Given
from ..networks.towers.chat import REPLY, TOKEN
from ..networks.towers.language import LanguageTower, trimmed
from ..pairwise.inputs import upcast

SINK = 10.0
"""A picture's token whose norm is so many times the median of its layer is an attention sink and no content."""


@torch.no_grad()
def attention_to_pictures(
    language: LanguageTower, given: Given, talk: Int[Tensor, "B 3 L"]
) -> Float[Tensor, "B m"]:
    """Return the attention of replies to the tokens of pictures; NaN for a token that is a sink.

    The mean is over all heads of the second half of the layers, from the middle one on, and over the positions that
    predict the reply's tokens. A picture's token that is a sink in one of these layers is left out.

    Args:
        language: reads the conversations.
        given: what it reads of pictures.
        talk: with one reply each.

    Raises:
        ValueError: for a bridge that changes layers, and a language model without attention.
    """
    if given.before:
        raise ValueError(
            "the bridge changes layers of the language model, so that attention is not all that it reads of pictures: "
            "take another bridge, such as linear"
        )
    read = trimmed(talk)
    embedded, opening, width = language.embed(read[:, TOKEN]), language.chat.opening, given.tokens.shape[1]
    of_pictures = slice(opening, opening + width)
    parts = (embedded[:, :opening], given.tokens.to(embedded.dtype), embedded[:, opening:])
    layers = list(language.attention(torch.cat(parts, 1)))
    used = layers[len(layers) // 2 :]
    sinks = torch.stack([_sinks(states[:, of_pictures]) for _, states in used]).any(0)
    mean = torch.stack([upcast(of).mean(1) for of, _ in used]).mean(0)[:, :, of_pictures]
    # A token is predicted by the one before it.
    spoken = torch.zeros(mean.shape[:2], dtype=torch.bool, device=mean.device)
    spoken[:, opening + width - 1 : -1] = read[:, REPLY, opening:] > 0
    weights = torch.stack([of[at].mean(0) for of, at in zip(mean, spoken, strict=True)])
    return weights.masked_fill(sinks, torch.nan)


def _sinks(states: Float[Tensor, "B n W"]) -> Bool[Tensor, "B n"]:
    norms = upcast(states).norm(dim=-1)
    return norms > SINK * norms.median(1, keepdim=True).values
