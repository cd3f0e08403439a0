"""InfoNCE of sy-con within one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..pairwise.inputs import dot
from ..pairwise.reductions import LogSumExp
from ..pairwise.tile import NEG, Tile
from ._two_views import TwoTerms, two_views

PAPERS = {"sy-con": ("SyConBatchLoss",)}


class SyConBatchLoss(TwoTerms):
    """Sy-CON with the batch as the negatives, on SimCLR's terms.

    With z = [z_A; z_B] the projections, f the outputs of the previous model and p = g(z) their prediction,
    all of 2B rows, and partner(a) the other view of a:

        loss = mean over a of  −log [ e(z_a, z_partner(a)) / Σ_{b ≠ a} ( e(z_a, z_b) + e(z_a, f_b) ) ]      plasticity
                               −log [ e'(p_a, f_a) / ( Σ_b e'(p_a, f_b) + Σ_{b ≠ a} e'(p_a, z_b) ) ]        stability

    f gets no gradient; z gets one also as a negative. The authors' code removes the stability term's positive
    from its own denominator, together with the diagonal; here it stays. A batch of one still has negatives:
    its other view.

    Args:
        temperature: τ of e; a number is fixed.
        stability_temperature: τ' of e'.

    Raises:
        ValueError: unless everything comes in two views that pair up.

    Source: Cha et al., "Sy-CON: Symmetric Contrastive Loss for Continual Self-Supervised Representation
    Learning" (2023), arXiv 2306.05101; the definition of its code for batches.

    >>> x = torch.eye(4)
    >>> loss = SyConBatchLoss(temperature=1.0, stability_temperature=1.0)
    >>> round(loss([x, x], [x, x], [x, x]).item(), 4) # log((2e + 12) / e) + log((3e + 12) / e)
    3.862
    """

    family = "queue"
    stop_gradient = True

    def forward(
        self,
        z: Sequence[Float[Tensor, "B d"]],
        p: Sequence[Float[Tensor, "B d"]],
        f: Sequence[Float[Tensor, "B d"]],
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm projections, predictions and previous outputs, views A and B of each."""
        z, p, f = two_views(z=z, p=p, f=f)
        present, partner, previous = torch.cat([*z]), torch.cat([z[1], z[0]]), torch.cat([*f]).detach()
        item = self.index(z[0])
        me = torch.cat([2 * item, 2 * item + 1])
        new, old = self.temperature.scale(present), self.stability_temperature.scale(torch.cat([*p]))

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            same = tile.same("me")
            plasticity = tile.dot("z").masked_fill(same, NEG)
            stability = tile.dot("p", "z").masked_fill(same & ~tile.column.previous[None], NEG)
            return {"row": {"plasticity": LogSumExp(plasticity), "stability": LogSumExp(stability)}}

        is_previous = torch.cat(
            [torch.zeros_like(me, dtype=torch.bool), torch.ones_like(me, dtype=torch.bool)]
        )
        r = self.reduce(
            terms,
            rows={"z": new, "p": old, "me": me},
            columns={"z": torch.cat([present, previous]), "me": torch.cat([me, me]), "previous": is_previous},
        )
        plasticity = r.row.plasticity - dot(new, partner)
        return self.mean(plasticity + r.row.stability - dot(old, previous))
