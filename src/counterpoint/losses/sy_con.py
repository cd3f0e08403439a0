"""InfoNCE with a negative and a positive pool of the previous model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..pairwise.inputs import dot
from ..pairwise.reductions import LogSumExp
from ..pairwise.tile import Tile
from ._bank import against, others
from ._two_views import TwoTerms, check_two, two_views

PAPERS = {"sy-con": ("SyConLoss",)}


class SyConLoss(TwoTerms):
    """Continual contrast with queues: learn the new task, keep the old representation.

    For views A and B, q the projections, k the momentum keys, p = g(q) the predicted outputs of the previous
    model (its frozen copy), f those outputs, Q and Q' the queues of k and of f:

        L(A) = −log [ e(q_A, k_B) / ( e(q_A, k_B) + Σ_n e(q_A, n) ) ]             plasticity, e(a, b) = exp(<a, b>/τ)
               −log [ e'(p_A, f_A) / ( e'(p_A, f_A) + Σ_n e'(p_A, n) ) ]          stability, e' with τ'

        loss = ½ mean [ L(A) + L(B) ],   n in Q_B and Q'_B for A, in Q_A and Q'_A for B

    Both denominators hold the same negatives, and no weight stands between the two terms. Keys, previous
    outputs and queues get no gradient. In a first task there is no previous model: that is `MoCoLoss`, averaged
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
    >>> loss = SyConLoss(temperature=1.0, stability_temperature=1.0)
    >>> round(loss(views, views, views, views, queues, queues).item(), 4)
    1.8097
    """

    family = "queue"
    stop_gradient = True

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
        """Return the loss of unit-norm vectors and queues, views A and B of each; queues are the same on every rank.

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
        check_two(queue=queue, previous_queue=previous_queue, queue_ids=queue_ids, previous_ids=previous_ids)
        if not (ids is None) == (queue_ids is None) == (previous_ids is None):
            raise ValueError(
                "ids, queue_ids and previous_ids are compared with each other: give all of them, or none"
            )
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
