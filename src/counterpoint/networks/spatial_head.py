"""Heads of vectors as heads of patches, whose mean over patches is the head of the mean."""

from __future__ import annotations

import copy

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

PAPERS = {"pcd": ("SpatialHead",)}


class SpatialHead(nn.Module):
    """A trained head of pooled features, applied to patches so that ``mean_p S(x)_p = head(mean_p x_p)``.

    Each linear layer acts on every patch, which is a 1 × 1 convolution, and each batch norm by its running statistics,
    whatever the mode. Both are affine, so the mean passes through. A ReLU keeps or drops a channel in all patches of a
    picture, by the sign of the channel's mean; at 0 the channel is dropped.

    Args:
        head: a linear layer, or a sequence of linear layers, batch norms and ReLUs; its weights are copied.

    Raises:
        ValueError: for a head with another layer.

    Source: Huang and Guo, "Pixel-Wise Contrastive Distillation" (2022), arXiv 2211.00218.

    >>> import torch
    >>> head, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 5, 5, 4)
    >>> torch.allclose(SpatialHead(head)(x).mean((1, 2)), head(x.mean((1, 2))), atol=1e-6)
    True
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            copy.deepcopy(head) if isinstance(head, nn.Sequential) else [copy.deepcopy(head)]
        )
        for layer in self.layers:
            running = isinstance(layer, nn.BatchNorm1d) and layer.track_running_stats
            if not running and not isinstance(layer, nn.Linear | nn.ReLU):
                raise ValueError(
                    f"a head with a layer {type(layer).__name__} cannot act on patches so that the mean is preserved"
                )

    def forward(self, maps: Float[Tensor, "B h w C"]) -> Float[Tensor, "B h w d"]:
        x = maps.flatten(1, 2)
        for layer in self.layers:
            if isinstance(layer, nn.ReLU):
                x = x * (x.sum(1, keepdim=True) > 0)
            elif isinstance(layer, nn.BatchNorm1d):
                statistics = layer.running_mean, layer.running_var, layer.weight, layer.bias
                x = F.batch_norm(x.mT, *statistics, eps=layer.eps).mT
            else:
                x = layer(x)
        return x.view(*maps.shape[:3], -1)
