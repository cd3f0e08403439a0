"""Proxy-anchor: a vector of each class is the anchor of all examples of the batch."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Finite, NonNegative, Positive
from ..pairwise import moments
from ..pairwise.draws import keys
from ..pairwise.inputs import softplus
from ..pairwise.reductions import Reduction
from ._class_scores import checked
from ._pairs import PairLoss, Weights, log_sum


class ProxyAnchorLoss(PairLoss):
    """Each class's proxy w must attract the examples of its class and repel the others, the hardest most of all.

        loss = mean_{c ∈ C⁺} log[1 + Σ_{i: y_i = c} exp(−α (s_ci − δ))]
             + mean_c log[1 + Σ_{i: y_i ≠ c} exp(α (s_ci + δ))]

    s is the cosine, C⁺ the classes that the batch has examples of. Proxies are the anchors: rows, as many as classes,
    the same on every rank, against the examples of all ranks. Examples without a class, −1, count for nothing. With
    ``mix`` see `PairLoss`; the positive of a class is its first example, or the proxy itself.

    Args:
        alpha: α.
        delta: δ, the margin.
        mix: w, the weight of mixtures.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Kim et al., "Proxy Anchor Loss for Deep Metric Learning" (2020), arXiv 2003.13911; with mixtures
    Venkataramanan et al. (2022), arXiv 2106.04990.

    >>> w = torch.eye(2)                              # log(1 + 1/e) of one class, log(1 + 1) of the other's two
    >>> loss = ProxyAnchorLoss(1.0, 0.0)(w[:1], w, labels=torch.tensor([0]))
    >>> round(loss.item(), 4)                         # the mean of one class, and of 0 and log 2
    0.6598
    """

    family = "supervised"
    papers = ("metrix",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"alpha": (8.0, 64.0)}

    def __init__(self, alpha: Positive = 32.0, delta: Finite = 0.1, *, mix: NonNegative = 0.0) -> None:
        super().__init__(mix)
        self.alpha, self.delta = alpha, delta

    def forward(
        self, z: Float[Tensor, "B d"], bank: Float[Tensor, "C d"], *, labels: Int[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm examples and proxies of any norm; ``labels`` are positions in ``bank``."""
        z, bank = checked(z, bank, labels)
        proxies, classes = F.normalize(bank, dim=-1), torch.arange(len(bank), device=z.device)
        item = self.index(z)
        # No pair is of one place but those of a proxy and an example without a class.
        rows = {
            "z": proxies,
            "group": classes,
            "place": torch.full_like(classes, -1),
            "key": keys(classes, 0),
        }
        place = torch.where(labels < 0, -1, item)
        columns = {"z": z, "group": labels, "place": place, "key": keys(item, 1)}
        return self.over_pairs(rows, columns, self._partners(proxies, z, labels) if self.mix else None)

    def _partners(self, proxies: Tensor, z: Tensor, labels: Tensor) -> Float[Tensor, "C d"]:
        whole, of = self.ranks.everyones(z), self.ranks.everyones(labels)
        position = torch.arange(len(whole), device=z.device)
        none = torch.full((len(proxies),), len(whole), device=z.device)
        first = none.scatter_reduce(0, of[of >= 0], position[of >= 0], "amin")
        return torch.where((first < len(whole))[:, None], whole[first.clamp_max(len(whole) - 1)], proxies)

    def terms(self, s: Float[Tensor, "r c"], pull: Weights, push: Weights) -> Mapping[str, Reduction]:
        return {
            "pull": log_sum(-self.alpha * (s - self.delta), pull),
            "push": log_sum(self.alpha * (s + self.delta), push),
        }

    def joined(self, sums: SimpleNamespace) -> Float[Tensor, ""]:
        # Every rank holds all anchors: these means are over what is here.
        there = (sums.pull > -torch.inf).to(sums.pull)
        return moments.mean(softplus(sums.pull), there) + moments.mean(softplus(sums.push))
