"""Class priors: how frequent each class is among the training examples."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def class_priors(labels: Int[Tensor, " N"], classes: int) -> Float[Tensor, " C"]:
    """Return the share of each class among the examples that have one; one that no example has counts as if one had.

    >>> class_priors(torch.tensor([0, 0, 0, 1, -1]), 2).tolist()
    [0.75, 0.25]

    Args:
        labels: the class of each example, −1 for none.
        classes: how many there are.
    """
    counts = torch.bincount(labels[labels >= 0], minlength=classes).clamp_min(1)
    return counts / counts.sum()
