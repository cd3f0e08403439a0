"""Languages inside a model: how alike their states are, which one a layer would speak, and the way between two.

Source: Hinck et al., "Why do LLaVA Vision-Language Models Reply to Images in English?" (2024), arXiv 2407.02333.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..internals.cka import CKA
from .reading import Unembedding

PAPERS = {"image-induced-fidelity-loss": ("alignment_by_layer", "direction", "language_shares")}


def alignment_by_layer(sets: Mapping[str, Float[Tensor, "n layers d"]]) -> Float[Tensor, "layers sets sets"]:
    """Return linear CKA between sets of states at each layer, without the bias of few examples of many dimensions.

        CKA = ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖), centred, Frobenius norms;   by the unbiased estimator of each (see `CKA`)

    Args:
        sets: states of the same examples in the same order: of a picture's places, of the question in each language.

    Raises:
        ValueError: for sets of different examples, or fewer than 4.
    """
    layers = next(iter(sets.values())).shape[1]
    alignments = []
    for layer in range(layers):
        states = [z[:, layer] for z in sets.values()]
        alignments.append(CKA().update(states, states).value())
    return torch.stack(alignments)


def direction(
    states: Float[Tensor, "n layers d"], from_states: Float[Tensor, "m layers d"]
) -> Float[Tensor, "layers d"]:
    """Return ``d_l = mean h_l (in one language) − mean h_l (in the other)``, over the same prompts and position.

    Its layers count as in `ReplyReading`; the last has been through the final norm and is not where a model is steered.

    Raises:
        ValueError: for different numbers of prompts.

    >>> direction(torch.ones(3, 2, 4), torch.zeros(3, 2, 4)).shape
    torch.Size([2, 4])
    """
    if states.shape != from_states.shape:
        raise ValueError(
            f"both languages need the same prompts, got states of {tuple(states.shape)} and {tuple(from_states.shape)}"
        )
    return states.float().mean(0) - from_states.float().mean(0)


def opening_tokens(tokenizer: Any, words: Mapping[str, Collection[str]]) -> dict[str, list[int]]:
    """Return the tokens with which the words of each language begin, and those of no other language do.

    Args:
        tokenizer: of the model.
        words: of each language.

    Raises:
        ValueError: for a language none of whose words begins with a token of its own.
    """
    opening: dict[str, set[int]] = {}
    for language, of_language in words.items():
        spelt = [
            form
            for word in sorted(of_language)
            for form in (word, f" {word}", word.capitalize(), f" {word.capitalize()}")
        ]
        ids: list[list[int]] = tokenizer(spelt, add_special_tokens=False)["input_ids"]
        opening[language] = {one[0] for one in ids if one}
    openings = {}
    for language, own_tokens in opening.items():
        others = {token for other in opening if other != language for token in opening[other]}
        openings[language] = sorted(own_tokens - others)
        if not openings[language]:
            raise ValueError(
                f"no word of {language!r} begins with a token that no other language's word begins with"
            )
    return openings


def language_shares(
    states: Float[Tensor, "n layers d"], unembed: Unembedding, tokens: Mapping[str, Sequence[int]]
) -> Float[Tensor, "layers languages"]:
    """Compute the share of each language in the words that each layer would speak, by the logit lens.

    The probability of each language's own tokens over that of all languages' own tokens, averaged over examples.

    Args:
        states: where a reply begins (`prompt_states`), or of a picture's places.
        unembed: of the model.
        tokens: of each language, as `opening_tokens` finds them.
    """
    last = states.shape[1] - 1
    rows = []
    for layer in range(states.shape[1]):
        p = unembed(states[:, layer], last=layer == last)
        mass = torch.stack([p[:, list(ids)].sum(1) for ids in tokens.values()], 1)
        rows.append((mass / mass.sum(1, keepdim=True).clamp(min=torch.finfo(mass.dtype).tiny)).mean(0))
    return torch.stack(rows)
