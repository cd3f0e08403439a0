"""Is what a reply says in the picture? Cosines of contextual states, and the logit lens as their baseline.

Source: Phukan et al., "Beyond Logit Lens: Contextual Embeddings for Robust Hallucination Detection & Grounding in
VLMs" (NAACL 2025), arXiv 2411.19187.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .reading import ReplyReading, Unembedding

PAPERS = {"contextual-lens": ("support", "logit_lens")}


def similarities(
    states: Float[Tensor, "*n d"], meaning: Float[Tensor, " d"], *, centred: bool = False
) -> Float[Tensor, "*n"]:
    """Return the heat map of some words: ``cos(h_i, a)`` at every place.

    Args:
        states: states h of a picture's places at one layer.
        meaning: a, the mean state of the words, at this layer or another.
        centred: take the picture's mean state off both first. States have a strong common direction, so that plain
            cosines are all high; the paper's are plain.

    >>> similarities(torch.tensor([[3.0, 0.0], [1.0, 1.0]]), torch.tensor([2.0, 0.0])).tolist()
    [1.0, 0.7071067690849304]
    """
    if centred:
        common = states.flatten(0, -2).float().mean(0)
        states, meaning = states.float() - common, meaning.float() - common
    return F.cosine_similarity(states.float(), meaning.float(), dim=-1)


def support(
    reading: ReplyReading, tokens: slice = slice(None), *, centred: bool = False
) -> Float[Tensor, "layers layers"]:
    """Compute how well the picture supports some words, by the layer of its places (rows) and of the words (columns).

        s = max_i cos( h_i, mean_j h(w_j) )

    Low is a sign of hallucination. Words without a meaning of their own (yes, no) tell nothing; ask for what they are
    about. Column 0 is the variant without context: word embeddings in place of states. The highest of more places is
    higher, so compare within one grid.

    Args:
        reading: of the reply.
        tokens: of the reply, all unless given.
        centred: as in `similarities`.
    """
    places = reading.patches.flatten(1, 2).float()
    meanings = reading.meaning(tokens)
    if centred:
        common = places.mean(1)
        unit = F.normalize(meanings[None] - common[:, None], dim=-1)  # each layer of places has its own mean
        near = torch.einsum("lnd,lkd->lnk", F.normalize(places - common[:, None], dim=-1), unit)
    else:
        near = torch.einsum("lnd,kd->lnk", F.normalize(places, dim=-1), F.normalize(meanings, dim=-1))
    return near.amax(1)


def logit_lens(
    states: Float[Tensor, "layers h w d"], unembed: Unembedding, tokens: Sequence[int]
) -> Float[Tensor, " layers"]:
    """Return the baseline: the highest probability that any place gives to any of some tokens, by layer.

        s = max_i max_j softmax(W_U norm(h_i))[w_j]

    Args:
        states: states of a picture's places.
        unembed: of the model.
        tokens: of the vocabulary. The highest counts, so name those that carry the meaning, in all spellings.

    Raises:
        ValueError: for no token.
    """
    if not len(tokens):
        raise ValueError("there are no tokens to look for")
    last = len(states) - 1
    return torch.stack(
        [unembed(normed, last=layer == last)[..., list(tokens)].max() for layer, normed in enumerate(states)]
    )


def confidence(reading: ReplyReading, tokens: slice = slice(None)) -> float:
    """Return the other baseline: the mean probability with which the model says some words."""
    return float(reading.log_probabilities[tokens].exp().mean())
