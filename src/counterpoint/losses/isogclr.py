"""A global contrastive loss in which every item has a temperature of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import NonNegative, Positive, Share
from ..networks.state.item_state import ItemState
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, WeightedMean
from ..pairwise.tile import NEG, Tile

GRADIENT_BOUND = 5.0
"""The gradient of a temperature is clipped to ± this."""


class ISogCLRLoss(PairwiseLoss):
    """Contrast against all data, with moving averages in place of a large batch, and a temperature per item.

    For an anchor i with the score s_ii of its positive, ``h_ij = s_ij − s_ii`` and j among the negatives, it
    minimises the robust loss

        min_τ  τ log mean_j exp(h_ij/τ) + τ ρ,   τ within its bounds,

    whose best τ has KL(softmax_j(h_ij/τ) ‖ uniform) = ρ: a larger ρ gives smaller temperatures, frequent
    semantics get larger ones than rare ones. Each item keeps s_i, τ_i and u_i per modality. In a step

        g_i = mean_j exp(h_ij/τ_i),           s_i ← (1 − γ) s_i + γ g_i        (g_i where i is new)
        p_ij = exp(h_ij/τ_i) / s_i,           loss = mean_i mean_j p_ij h_ij   (p constant)
        G_i = log s_i + ρ − mean_j p_ij h_ij/τ_i,   clipped to ±5
        u_i ← (1 − β) u_i + β G_i,            τ_i ← clip(τ_i − η u_i)

    for x against y and for y against x, whose losses are added. s is kept as its logarithm. Without adaptation
    the temperatures stay, and this is SogCLR; with γ = 1 too, its gradient is τ times that of a decoupled loss:
    `DCLLoss` with the other side's views alone as negatives.

    The number returned has the gradient of the loss but is not its value: choose no model by it. The KL
    divergence cannot exceed log(B − 1) within a batch, so that in small ones a ρ above that drives every
    temperature to its lower bound; ρ near 0 drives it to the upper one.

    State moves after each optimizer step, by what the last call in training mode saw, and is the same on every
    rank. The temperatures are no parameters: neither an optimizer nor weight decay touches them. A batch of one has
    no negatives: the loss is 0 and nothing moves.

    Args:
        temperature: the τ that an item starts from.
        lowest, highest: the bounds of τ.
        gamma: γ in (0, 1].
        rho: ρ ≥ 0.
        eta: η ≥ 0, the step of τ.
        beta_u: β in (0, 1].
        adapt: whether temperatures move.

    Raises:
        ValueError: for an option out of its range, embeddings that do not pair up, or ids that are not one
            integer per row.

    The authors' code for two modalities counts the positive among the negatives of g (its mask of the diagonal is not
    used) and lets s start at γ g instead of g; here it is the paper's.

    Source: Qiu et al., "Not All Semantics are Created Equal: Contrastive Self-supervised Learning with Automatic
    Temperature Individualization" (2023), arXiv 2305.11965; SogCLR: Yuan et al., "Provable Stochastic
    Optimization for Global Contrastive Learning: Small Batch Does Not Harm Performance" (2022), arXiv
    2202.12387.

    >>> x = torch.eye(4)                              # every negative at a cosine 1 below the positive
    >>> ISogCLRLoss()(x, x, torch.arange(4)).item()
    -2.0
    """

    family = "weighted"
    is_method = True
    symmetric = True
    needs_ids = True
    stateful = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.005, 0.05), "rho": (0.1, 10.0)}
    stop_gradient = True
    papers = ("isogclr",)

    def __init__(
        self,
        temperature: Positive = 0.01,
        *,
        lowest: Positive = 0.005,
        highest: Positive = 0.05,
        gamma: Share = 0.8,
        rho: NonNegative = 8.0,
        eta: NonNegative = 0.001,
        beta_u: Share = 0.5,
        adapt: bool = True,
    ) -> None:
        super().__init__()
        if not lowest <= temperature <= highest:
            raise ValueError(
                f"temperature={temperature} must lie between lowest={lowest} and highest={highest}"
            )
        self.lowest, self.highest = lowest, highest
        self.gamma, self.rho, self.eta, self.beta_u, self.adapt = gamma, rho, eta, beta_u, adapt
        self.x_items = ItemState(log_s=NEG, tau=temperature, u=0.0)
        self.y_items = ItemState(log_s=NEG, tau=temperature, u=0.0)
        self._seen: tuple[Tensor, list[dict[str, Tensor]]] | None = None

    def forward(
        self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"], ids: Int[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y``, of which row i of both is of the item ``ids[i]``."""
        x, y = paired(x=x, y=y)
        if ids.shape != x.shape[:1] or ids.is_floating_point():
            raise ValueError(
                f"ids must be one integer per row, ({len(x)},), got {tuple(ids.shape)} {ids.dtype}"
            )
        n, matched = self.count(x), dot(x, y)
        if n == 1:
            self._seen = None
            return 0.0 * self.mean(matched)
        items = [[v.to(x.dtype) for v in state.recall(ids)] for state in (self.x_items, self.y_items)]

        def terms(tile: Tile) -> dict[str, dict[str, Any]]:
            s = tile.dot()
            reductions = {}
            for per, tau in (("row", tile.row.tau[:, None]), ("column", tile.column.tau[None])):
                logits = tile.off_diagonal(s / tau)
                reductions[per] = {
                    "all": LogSumExp(logits),
                    "mean": WeightedMean(logits.detach(), s.detach()),
                }
            return reductions

        r = self.reduce(terms, rows={"z": x, "tau": items[0][1]}, columns={"z": y, "tau": items[1][1]})
        loss, updates = matched.new_zeros(()), []
        for side, (old, tau, u) in zip((r.row, r.column), items, strict=True):
            log_g = side.all - matched / tau - math.log(n - 1)
            moved = torch.logaddexp(_log(1 - self.gamma) + old, _log(self.gamma) + log_g)
            log_s = torch.where(old == NEG, log_g, moved).detach()
            p = (log_g - log_s).exp()  # mean_j p_ij
            h = (p * (side.mean - matched)).detach()  # mean_j p_ij h_ij
            # The gradient of τ p is mean_j p_ij ∇h_ij.
            loss = loss + self.mean(tau * p - (tau * p).detach() + h)
            update = {"log_s": log_s}
            if self.adapt:
                gradient = (log_s + self.rho - h / tau).clamp(-GRADIENT_BOUND, GRADIENT_BOUND)
                update["u"] = (1 - self.beta_u) * u + self.beta_u * gradient
                update["tau"] = (tau - self.eta * update["u"]).clamp(self.lowest, self.highest)
            updates.append(update)
        if self.training:
            self._seen = ids, updates
        return loss

    def update_state(self) -> None:
        if self._seen is None:
            return
        ids, updates = self._seen
        ranks = self.ranks
        counts = ranks.counts(len(ids), ids.device)
        everyone = ranks.gather(ids, counts)
        for state, update in zip((self.x_items, self.y_items), updates, strict=True):
            state.store(everyone, **{name: ranks.gather(value, counts) for name, value in update.items()})
        self._seen = None


def _log(share: float) -> float:
    return math.log(share) if share > 0 else NEG
