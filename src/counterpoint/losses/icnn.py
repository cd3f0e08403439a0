"""ICNN: a score of how a set is divided into classes, from the distances and classes of nearest neighbours."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Count
from ..pairwise import moments
from ..pairwise.inputs import paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import Top, TopK
from ..pairwise.tile import NEG, Tile
from ._class_scores import matched
from ._pairs import check_labels
from .proto_triplet import EPSILON


class ICNNLoss(PairwiseLoss):
    """Nearest neighbours are to be near where they are of the point's class, and far where they are of another.

    D_i1 ≤ D_i2 ≤ … are the distances of point i to the others, and r_i that to the nearest of another class among the
    first ``pool`` of them, infinite if there is none. With n_ij = D_ij / r_i, divided by max(1, max_j n_ij), and
    o_ij = D_ij / (the largest D_ij of other classes, over all points), of the k nearest j:

        same  = 1 − mean_i mean_{j of i's class} n_ij
        other = mean_i mean_{j of another class} o_ij,   1 if there is none
        right = the share of neighbours that are of the point's class, 1 where all others are neighbours
        loss  = −log score,   score = ((same + other) / 2 + right) / 2

    Points that have no such neighbour have no say in a mean. ``right`` and who is a neighbour carry no gradient. A
    point without a class is one of a class of its own.

    Points may be compared with another set, a bank, too: prototypes or supports, say. Only where they are compared with
    their own set is one of their neighbours the point itself, which is left out; the release leaves out the nearest in
    either case, of a bank the neighbour that matters most. It also masks by distances of exactly 0; here masks are by
    classes.

    Args:
        neighbours: k; one fewer than the other points where there are not more.
        pool: k + 1 unless given. The release has all of a class, supports and queries, where both are one set.
        detached: whether the normalisers r_i and both maxima carry no gradient. Otherwise, as in the release, much of
            it goes to the pairs that are extreme.

    Raises:
        ValueError: for labels that are not one integer a row, or a bank of another width or without labels.

    Source: Méndez-Ruiz et al., "SuSana Distancia is all you need: Enforcing class separability in metric learning via
    two novel distance-based loss functions for few-shot image classification" (2023), arXiv 2305.09062, as released.
    The variance term that is described there is left out of the release too.

    >>> z = torch.tensor([[0.0], [0.1], [5.0], [5.1]])    # two tight classes, each other's nearest
    >>> tight = ICNNLoss(neighbours=1)(z, labels=torch.tensor([0, 0, 1, 1]))
    >>> crossed = ICNNLoss(neighbours=1)(z, labels=torch.tensor([0, 1, 0, 1]))
    >>> round(tight.exp().item(), 2), round(crossed.exp().item(), 2)
    (1.01, 2.0)
    """

    family = "supervised"
    needs_labels = True
    papers = ("susana-distancia",)

    def __init__(self, neighbours: Count = 4, *, pool: Count | None = None, detached: bool = False) -> None:
        super().__init__()
        self.neighbours, self.pool, self.detached = neighbours, pool, detached

    def forward(
        self,
        z: Float[Tensor, "B d"],
        bank: Float[Tensor, "M d"] | None = None,
        bank_labels: Int[Tensor, " M"] | None = None,
        *,
        labels: Int[Tensor, " B"],
    ) -> Float[Tensor, ""]:
        """Return the loss of points among each other, or of points and a bank.

        Args:
            z: the points.
            bank: the same on every rank.
            bank_labels: the class of each vector of the bank, −1 for none.
            labels: the class of each point, −1 for none.
        """
        (z,) = paired(z=z)
        check_labels(labels, len(z))
        place = self.index(z)
        # Each in a class of its own, and none in that of a bank's vectors without one.
        labels = torch.where(labels < 0, -2 - place, labels)
        rows = {"z": z, "place": place}
        if bank is None:
            columns, of_others = rows, self.ranks.everyones(labels)
            others = len(of_others) - 1
        else:
            z, bank = matched(z, bank)
            if bank_labels is None:
                raise ValueError("bank has no labels: give bank_labels, the class of each of its vectors")
            check_labels(bank_labels, len(bank))
            columns, of_others = {"z": bank}, bank_labels
            others = len(of_others)
        k = min(self.neighbours, others - 1)
        if k < 1:
            return self.mean(z.sum(1) * 0)
        pool = min(max(self.pool or 0, k + 1), others)

        def terms(tile: Tile) -> dict[str, dict[str, TopK]]:
            nearness = -tile.squared_distance().clamp_min(0.0)
            if bank is None:
                nearness = nearness.masked_fill(tile.same("place"), NEG)
            return {"row": {"nearest": TopK(nearness, pool)}}

        nearest: Top = self.reduce(
            terms, rows=rows, columns=columns, same_columns=bank is not None
        ).row.nearest
        distances = (EPSILON - nearest.values).sqrt()
        same = of_others[nearest.indices] == labels[:, None]
        return -self.score(distances, same, k, all_near=k == others - 1).clamp_min(1e-6).log()

    def score(
        self, distances: Float[Tensor, "B pool"], same: Bool[Tensor, "B pool"], k: int, *, all_near: bool
    ) -> Float[Tensor, ""]:
        """Return the score of rising distances and of who is of the same class."""
        radius = torch.where(same, torch.inf, distances).amin(1, keepdim=True)
        distances, same = distances[:, :k], same[:, :k]
        wrong = ~same
        ratios = distances / self._normaliser(radius + 1e-7)
        ratios = ratios / self._normaliser(ratios.amax(1, keepdim=True).clamp_min(1.0))
        farthest = self._normaliser(moments.largest(distances * wrong, ranks=self.ranks))
        none_wrong = (self.ranks.total(wrong.sum()) == 0).to(distances)
        apart = self._mean_of(distances, wrong) / (farthest + 1e-7) + none_wrong
        right = 1.0 if all_near else self.mean(same.to(distances).mean(1))
        return ((1 - self._mean_of(ratios, same) + apart) / 2 + right) / 2

    def _mean_of(self, values: Float[Tensor, "B k"], which: Bool[Tensor, "B k"]) -> Float[Tensor, ""]:
        """Return the mean, over points that have some of these neighbours, of the mean over them."""
        counts = which.sum(1)
        return self.mean((values * which).sum(1) / counts.clamp_min(1), (counts > 0).to(values.dtype))

    def _normaliser(self, value: Tensor) -> Tensor:
        return value.detach() if self.detached else value
