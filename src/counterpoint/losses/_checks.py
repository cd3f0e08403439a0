"""Checks of tags: every tag of every example has its say."""

from __future__ import annotations

import torch
from torch import Tensor


def check_tags(z: Tensor, bank: Tensor, **of_tags: Tensor) -> None:
    """Refuse what is not said of every tag of every example; only how much comes along is no boolean."""
    for name, mask in of_tags.items():
        if mask.shape != (len(z), len(bank)) or (mask.dtype != torch.bool and name != "company"):
            raise ValueError(
                f"z is {tuple(z.shape)} but {name} {mask.dtype} {tuple(mask.shape)}: row i of one must belong to "
                f"row i of the other, a boolean for each of {len(bank)} tags"
            )
