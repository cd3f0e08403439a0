"""Sy-CON: plasticity and stability, both against negatives of the present and of the previous model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...pairwise.inputs import dot, paired
from ...pairwise.objective import PairwiseObjective
from ...pairwise.reductions import LogSumExp
from ...pairwise.temperature import Temperature
from ...pairwise.tile import NEG, Tile
from .bank import against, others


class _TwoTerms(PairwiseObjective):
    """What both forms share: a temperature for plasticity and one for stability."""

    papers = ("sy-con",)

    def __init__(
        self, temperature: float | Temperature = 0.2, *, stability_temperature: float | Temperature = 0.2
    ) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.2))
        self.stability_temperature = Temperature.of(stability_temperature, Temperature(0.2))


class SyCon(_TwoTerms):
    """Continual contrast with queues: learn the new task, keep the old representation.

    For views A and B, q the projections, k the momentum keys, p = g(q) the predicted outputs of the previous
    model (its frozen copy), f those outputs, Q and Q' the queues of k and of f:

        L(A) = −log [ e(q_A, k_B) / ( e(q_A, k_B) + Σ_n e(q_A, n) ) ]             plasticity, e(a, b) = exp(<a, b>/τ)
               −log [ e'(p_A, f_A) / ( e'(p_A, f_A) + Σ_n e'(p_A, n) ) ]          stability, e' with τ'

        loss = ½ mean [ L(A) + L(B) ],   n in Q_B and Q'_B for A, in Q_A and Q'_A for B

    Both denominators hold the same negatives, and no weight stands between the two terms. Keys, previous
    outputs and queues get no gradient. In a first task there is no previous model: that is `MoCo`, averaged
    over both views.

    Args:
        temperature: τ; a number is fixed.
        stability_temperature: τ'.

    Raises:
        ValueError: unless everything comes in two views that pair up, and for queues that do not fit.

    Source: Cha et al., "Sy-CON: Symmetric Contrastive Loss for Continual Self-Supervised Representation
    Learning" (2023), arXiv 2306.05101; the definition of its code for queues.

    >>> x = torch.eye(8)                              # twice the key at 1, four in the queues at 0
    >>> views, queues = [x[:2], x[:2]], [x[4:6], x[4:6]]
    >>> loss = SyCon(temperature=1.0, stability_temperature=1.0)
    >>> round(loss(views, views, views, views, queues, queues).item(), 4)
    1.8097
    """

    def forward(
        self,
        q: Sequence[Float[Tensor, "B d"]],
        k: Sequence[Float[Tensor, "B d"]],
        p: Sequence[Float[Tensor, "B d"]],
        f: Sequence[Float[Tensor, "B d"]],
        queue: Sequence[Float[Tensor, "K d"]],
        previous_queue: Sequence[Float[Tensor, "L d"]],
        ids: Int[Tensor, " B"] | None = None,
        queue_ids: Sequence[Int[Tensor, " K"]] | None = None,
        previous_ids: Sequence[Int[Tensor, " L"]] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of unit-norm vectors and queues, views A and B of each; queues are the same on every rank.

        Args:
            q: projections of the present model.
            k: momentum keys.
            p: predicted outputs of the previous model.
            f: outputs of the previous model.
            queue: Q, earlier keys by their view.
            previous_queue: Q', earlier outputs of the previous model by their view.
            ids: the items of the batch; with the ids of both queues, own entries are no negatives.
            queue_ids, previous_ids: the items of the queues.
        """
        q, k, p, f = two_views(q=q, k=k, p=p, f=f)
        banks = [torch.cat(pair) for pair in zip(queue, previous_queue, strict=True)]
        bank_ids: Sequence[Tensor | None] = (None, None)
        if queue_ids is not None and previous_ids is not None:
            bank_ids = [torch.cat(pair) for pair in zip(queue_ids, previous_ids, strict=True)]
        losses = [
            self._view(q[a], k[b].detach(), p[a], f[a].detach(), banks[b], ids, bank_ids[b])
            for a, b in ((0, 1), (1, 0))
        ]
        return self.mean(torch.stack(losses).mean(0))

    def _view(
        self,
        q: Tensor,
        k: Tensor,
        p: Tensor,
        f: Tensor,
        bank: Tensor,
        ids: Tensor | None,
        bank_ids: Tensor | None,
    ) -> Tensor:
        q, p = self.temperature.scale(q), self.stability_temperature.scale(p)
        rows, columns = against(q, bank, ids, bank_ids)

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            plasticity, stability = tile.dot("z"), tile.dot("p", "z")
            return {
                "row": {
                    "plasticity": LogSumExp(others(tile, plasticity)),
                    "stability": LogSumExp(others(tile, stability)),
                }
            }

        r = self.reduce(terms, rows={**rows, "p": p}, columns=columns, same_columns=True)
        new, old = dot(q, k), dot(p, f)
        plasticity = torch.logaddexp(new, r.row.plasticity) - new
        return plasticity + torch.logaddexp(old, r.row.stability) - old


class SyConBatch(_TwoTerms):
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
    >>> loss = SyConBatch(temperature=1.0, stability_temperature=1.0)
    >>> round(loss([x, x], [x, x], [x, x]).item(), 4) # log((2e + 12) / e) + log((3e + 12) / e)
    3.862
    """

    def forward(
        self,
        z: Sequence[Float[Tensor, "B d"]],
        p: Sequence[Float[Tensor, "B d"]],
        f: Sequence[Float[Tensor, "B d"]],
    ) -> Float[Tensor, ""]:
        """The loss of unit-norm projections, predictions and previous outputs, views A and B of each."""
        z, p, f = two_views(z=z, p=p, f=f)
        present, partner, previous = torch.cat([*z]), torch.cat([z[1], z[0]]), torch.cat([*f]).detach()
        item = self.index(z[0])
        me = torch.cat([2 * item, 2 * item + 1])
        new, old = self.temperature.scale(present), self.stability_temperature.scale(torch.cat([*p]))

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            own = tile.same("me")
            plasticity = tile.dot("z").masked_fill(own, NEG)
            stability = tile.dot("p", "z").masked_fill(own & ~tile.column.previous[None], NEG)
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


def two_views(**named: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    """Two views of each, checked like `counterpoint.pairwise.paired`.

    Raises:
        ValueError: for another number of views, or views that do not pair up.
    """
    for name, views in named.items():
        if len(views) != 2:
            raise ValueError(f"Sy-CON takes two views, got {len(views)} of {name}")
    flat = paired(
        **{f"{name} of view {v}": views[i] for name, views in named.items() for i, v in enumerate("AB")}
    )
    return [flat[start : start + 2] for start in range(0, len(flat), 2)]
