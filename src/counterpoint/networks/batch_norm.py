"""Batch normalisation whose batch is that of all ranks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..pairwise import moments
from ..pairwise.ranks import Ranks


def has_batch_norms(module: nn.Module) -> bool:
    """Return whether a module, or a part of it, is a batch norm of any kind."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


class BatchNorm1d(nn.BatchNorm1d):
    """``γ (x − μ) / √(σ² + ε) + β``, with μ and σ² over the rows of all ranks while training.

    On one process this is PyTorch's own. (``SyncBatchNorm``, which does the same across devices, is for GPUs
    alone.)

    >>> BatchNorm1d(2, affine=False)(torch.tensor([[1.0, 0.0], [3.0, 2.0]])).round().tolist()
    [[-1.0, -1.0], [1.0, 1.0]]

    Raises:
        ValueError: for a batch of one while training: its variance is zero.
    """

    def forward(self, x: Float[Tensor, "B width"]) -> Float[Tensor, "B width"]:
        ranks = Ranks.present()
        if self.training and ranks.size == 1 and len(x) < 2:
            raise ValueError(
                "a batch of one has no batch statistics; this method needs batch_size of 2 or more"
            )
        if ranks.size == 1 or not self.training:
            return super().forward(x)
        mean = moments.mean(x, ranks=ranks)
        # The variance of centred values: E x² − (E x)² would cancel where the mean is large.
        centred = x - mean
        variance = moments.mean(centred.square(), ranks=ranks)
        self._follow(mean.detach(), variance.detach(), sum(ranks.counts(len(x), x.device)))
        normed = centred / (variance + self.eps).sqrt()
        return normed * self.weight + self.bias if self.affine else normed

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics; that of the variance is unbiased, as PyTorch's."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_((variance * count / max(count - 1, 1)).to(self.running_var), share)
