"""Masks of the noise loss from the attention of new words, which need no annotation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def shares_of_words(maps: Float[Tensor, "B N s s"]) -> Float[Tensor, "B N s s"]:
    """Return the softmax over some words alone: what share of their attention at a cell each of them has.

        a_n / Σ_m a_m

    The softmax runs over logarithms of probabilities, and all other tokens are left out of it, as if their scores were
    −∞. A cell that no word attends to is divided evenly.

    >>> [round(it, 4) for it in shares_of_words(torch.tensor([[[[0.3]], [[0.1]]]])).flatten().tolist()]
    [0.75, 0.25]
    """
    tiny = torch.finfo(maps.dtype).tiny
    return maps.clamp_min(tiny).log().softmax(1)


def mask_of_words(
    maps: Float[Tensor, "B N s s"], side: int, threshold: float = 0.3, *, compete: bool = True
) -> Bool[Tensor, "B side side"]:
    """Return where words attend to, from probabilities of their tokens: a constant, through which no gradient flows.

        A = Σ_n a_n · share_n,   M = A / max A ≥ threshold

    A is enlarged to the side before it is divided. Where A is 0 everywhere, all of the picture is inside.

    Args:
        maps: of the words at one side, averaged over layers and heads.
        side: of the mask.
        threshold: of the largest value of a picture.
        compete: whether a word counts at a cell by its share among the words (`shares_of_words`); else shares are 1.
            Shares alone would be of no use: their sum is 1 at every cell.

    Source: Jin et al., "An Image is Worth Multiple Words: Learning Object Level Concepts using Multi-Concept Prompt
    Learning" (2023), arXiv 2310.12274.

    >>> mask_of_words(torch.tensor([[[[0.4, 0.1], [0.1, 0.2]]]]), 2).tolist()
    [[[True, False], [False, True]]]
    """
    maps = maps.detach()
    if compete:
        maps = maps * shares_of_words(maps)
    total = F.interpolate(maps.sum(1, keepdim=True), (side, side), mode="bilinear")[:, 0]
    largest = total.amax((1, 2), keepdim=True)
    return (total >= threshold * largest) | (largest <= 0)


def masked_errors(gaps: Float[Tensor, "B C H W"], mask: Bool[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """Return the mean over all cells of (M · predicted − M · target)², of predicted less target values.

    The mask multiplies both: the prediction outside of it is not drawn to 0 either.

    >>> masked_errors(torch.ones(1, 3, 1, 2), torch.tensor([[[True, False]]])).item()
    0.5
    """
    return (mask[:, None] * gaps).square().flatten(1).mean(1)
