"""The small convolutional classifier that condensed pictures are made with and judged by."""

from __future__ import annotations

from torch import nn


def plain_convnet(classes: int, size: int, width: int = 128, depth: int = 3) -> nn.Sequential:
    """Build blocks of convolution, instance norm, ReLU and average pool, and a linear classifier of what they see.

    Its weights are torch's own, drawn from torch's generator. Pictures are ``(B, 3, size, size)``.

    >>> import torch
    >>> plain_convnet(5, 16, width=8)(torch.zeros(2, 3, 16, 16)).shape
    torch.Size([2, 5])

    Raises:
        ValueError: for pictures that are too small.

    Source: Zhao et al., "Dataset Condensation with Gradient Matching" (2021), arXiv 2006.05929.
    """
    if size < 2**depth:
        raise ValueError(
            f"pictures of {size} pixels are too small for {depth} halvings; give {2**depth} or more"
        )
    layers: list[nn.Module] = []
    for block in range(depth):
        layers += [
            nn.Conv2d(3 if block == 0 else width, width, 3, padding=1),
            nn.GroupNorm(width, width),  # an instance norm with weights; it has no statistics of a batch
            nn.ReLU(),
            nn.AvgPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * (size // 2**depth) ** 2, classes))
