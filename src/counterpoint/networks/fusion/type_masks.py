"""Masks of attention by the type of tokens: which types read which others."""

from __future__ import annotations

from jaxtyping import Bool, Int
from torch import Tensor

PAPERS = {"zorro": ("type_mask",)}

FUSION = -1
"""The type of fusion tokens; columns have the types 0, 1, …"""


def type_mask(types: Int[Tensor, " n"]) -> Bool[Tensor, "n n"]:
    """Return which tokens each token attends to: those of its own type; fusion tokens attend to all.

    No other token attends to a fusion token, which would carry one column into another.

    Args:
        types: of the tokens.

    Source: Recasens et al., "Zorro: the masked multimodal transformer" (2023), arXiv 2301.09595.

    >>> import torch
    >>> type_mask(torch.tensor([0, 1, FUSION])).int().tolist()
    [[1, 0, 0], [0, 1, 0], [1, 1, 1]]
    """
    query, key = types[:, None], types[None]
    return (query == key) | (query == FUSION)
