"""Proxy-anchor: a vector of each class attracts the features of its examples and repels those of others."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ..forms import Finite, NonNegative, Positive
from ..losses import ProxyAnchorLoss
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Target
from ._scores import ClassScores
from .base import Ranges


class ProxyAnchor(ClassScores):
    """``L = ProxyAnchor(nz(f(x)), w, y)`` of the features of a column and a proxy of each class; nz(u) = u / ‖u‖.

    A user gets the tower's own features, and classes by the cosines with their proxies. The proxies learn at the rate
    of all other weights; the paper's learn a hundred times as fast.

    Args:
        towers: the tower, by its column.
        recipe: unused: proxies are as wide as the tower.
        target: the label that is learned.
        alpha, delta, mix: of `ProxyAnchorLoss`; ``mix=0.4`` adds mixtures (Metrix).

    Raises:
        ValueError: without a label.

    Source: Kim et al., "Proxy Anchor Loss for Deep Metric Learning" (2020), arXiv 2003.13911; with mixtures
    Venkataramanan et al., "It Takes Two to Tango: Mixup for Deep Metric Learning" (2022), arXiv 2106.04990.
    """

    family = "supervised"
    papers = ("metrix",)
    name = "proxy_anchor"
    tunable: ClassVar[Ranges] = ProxyAnchorLoss.tunable

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        alpha: Positive = 32.0,
        delta: Finite = 0.1,
        mix: NonNegative = 0.0,
    ) -> None:
        super().__init__(towers, recipe, target=target, head="cosine", temperature=1.0)
        self.objective = ProxyAnchorLoss(alpha, delta, mix=mix)
        self.ordered = self.objective.ordered

    def loss(
        self, features: Float[Tensor, "B W"], labels: Tensor, weights: Float[Tensor, " B"] | None
    ) -> Float[Tensor, ""]:
        z, proxies, _ = self.head(features)
        return self.objective(z, proxies, labels=labels)
