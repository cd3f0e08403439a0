"""CWCL: a tower learns the geometry of a pretrained, frozen one."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..forms import Positive
from ..losses import CWCLLoss
from ..networks import tune
from ..networks.base import Towers
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ..registry import unknown
from .base import Ranges
from .dual_encoder import DualEncoder, heads_into_first


class CWCL(DualEncoder):
    """A linear head maps the trained tower into the space of the frozen one, whose cosines are the targets.

        q = nz(f(frozen modality)),   p = nz(head(g(trained modality))),   w_ij = ((1 + <q_i, q_j>) / 2)^γ
        L = mean_i CE(q_i pᵀ/τ, w_i· / Σ_j w_ij) + mean_i CE(p_i qᵀ/τ, i)

    The frozen tower has no gradient and stays in evaluation mode. Its weights are named in the recipe or the
    arm: ``cwcl,text=transformers:NAME@FILE``. τ is learned within [0.01, 1].

    Args:
        towers: the towers, by column.
        recipe: not used beyond the towers.
        frozen: the column whose tower is frozen.
        gamma: γ, above 1 to sharpen the targets.
        weighted_anchor: the direction with continuous targets; see the loss.
        temperature: where τ starts.

    Raises:
        UnknownNameError: for another ``frozen``.
        ValueError: if that tower is not pretrained.

    Source: Srinivasa et al., "CWCL: Cross-Modal Transfer with Continuously Weighted Contrastive Loss" (2023),
    arXiv 2309.14580.
    """

    family = "two towers"
    papers = ("cwcl",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "gamma": (1.0, 16.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        frozen: str = "text",
        gamma: Positive = 1.0,
        weighted_anchor: Literal["frozen", "trained", "both"] = "frozen",
        temperature: Positive = 0.07,
    ) -> None:
        if frozen not in towers:
            raise unknown("frozen column", frozen, towers)
        fixed = towers[frozen]
        if not fixed.pretrained:
            raise ValueError(
                f"frozen={frozen} wants the {frozen} tower pretrained, but it is {fixed.name!r}; name weights as "
                f"{fixed.modality}=NAME@WEIGHTS"
            )
        tune(fixed, "frozen")
        order = {frozen: fixed, **towers}
        super().__init__(
            towers,
            heads_into_first(order),
            CWCLLoss(
                Temperature(temperature, bounds=(0.01, 1.0)), gamma=gamma, weighted_anchor=weighted_anchor
            ),
            "cwcl",
            order=tuple(order),
        )
