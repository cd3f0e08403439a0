"""SwAV: balanced codes of one view of an example, predicted from its other views."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import Natural, Positive
from ..pairwise import moments
from ..pairwise.inputs import paired_views
from ..pairwise.loss import Loss
from ..pairwise.temperature import Temperature


class SwAVLoss(Loss):
    """Swapped prediction: every view predicts the codes of the large views, from scores with K prototypes.

        loss = (1/|A|) Σ_{a ∈ A} 1/(V−1) Σ_{v ≠ a} H(Q(s_a), softmax(s_v/τ)),   H(q, p) = −mean_i Σ_k q_ik log p_ik

    Scores s are cosines with the prototypes, which live in the network. A are the large views, V all of them, the
    small ones included, which give no codes. Codes Q are Sinkhorn–Knopp on s/ε, not on s/τ, and carry no gradient;
    a queue of earlier scores balances them where a batch is small beside K.

    Args:
        temperature: τ; a number is fixed.
        epsilon: ε of Sinkhorn, see `counterpoint.pairwise.moments.sinkhorn`.
        iterations: of Sinkhorn; with 0 codes are softmax(s/ε), of which nothing keeps examples apart.

    Raises:
        ValueError: for fewer than two views, no large one, or another number of targets or queues than of large views.

    Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (2020), arXiv
    2006.09882.

    >>> scores = torch.eye(3)
    >>> round(SwAVLoss(temperature=1.0)([scores, scores]).item(), 4)
    0.5514
    """

    family = "clustering"
    stop_gradient = True
    papers = ("swav",)

    def __init__(
        self, temperature: Positive | Temperature = 0.1, *, epsilon: Positive = 0.05, iterations: Natural = 3
    ) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.1))
        self.epsilon = epsilon
        self.iterations = iterations

    def forward(
        self,
        large: Sequence[Float[Tensor, "B K"]],
        small: Sequence[Float[Tensor, "B K"]] = (),
        *,
        targets: Sequence[Float[Tensor, "B K"]] = (),
        queues: Sequence[Float[Tensor, "Q K"]] = (),
    ) -> Float[Tensor, ""]:
        """Return the loss of the scores of all views.

        Args:
            large: of the views that give codes, and predict those of each other.
            small: of views that predict alone.
            targets: what the codes of the large views are of, as the scores of a momentum copy; their own unless given.
            queues: for each large view, scores of earlier examples, the same on every rank; only balance the codes.
        """
        scores = paired_views([*large, *small])
        targets = paired_views(targets or scores[: len(large)], 1)
        if len(targets) != len(large) or len(queues) not in {0, len(large)}:
            raise ValueError(
                f"{len(large)} large views, but {len(targets)} targets and {len(queues)} queues: give one for each"
            )
        logs = [self.temperature.scale(s).log_softmax(1) for s in scores]
        losses = []
        for a, target in enumerate(targets):
            codes = self.codes(target, queues[a] if queues else None)
            of_others = torch.stack([log for v, log in enumerate(logs) if v != a]).mean(0)
            losses.append(-self.mean((codes * of_others).sum(1)))
        return torch.stack(losses).mean()

    def codes(
        self, scores: Float[Tensor, "B K"], queue: Float[Tensor, "Q K"] | None = None
    ) -> Float[Tensor, "B K"]:
        """Return the codes of scores, balanced over them, those of the other ranks, and the queue's."""
        ranks = self.ranks
        # Each rank brings its part of the queue, which all of them have.
        beside = [] if queue is None else [queue[ranks.rank :: ranks.size].detach().to(scores)]
        of_all = torch.cat([scores.detach(), *beside])
        codes = moments.sinkhorn(of_all, epsilon=self.epsilon, iterations=self.iterations, ranks=ranks)
        return codes[: len(scores)]
