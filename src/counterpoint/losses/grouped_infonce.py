"""InfoNCE inside groups of the batch."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import Count, Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.ranks import Ranks
from ..pairwise.reductions import LogSumExp
from ..pairwise.temperature import Temperature


class GroupedInfoNCELoss(PairwiseLoss):
    """Each x must find its y among those of its group, and each y its x; the batch is cut into g groups.

    With G(i) the group of i, and logits ``S = x yᵀ / τ``:

        loss = mean_i ½ [ log Σ_{j ∈ G(i)} exp S_ij + log Σ_{j ∈ G(i)} exp S_ji ] − S_ii

    Groups are consecutive and differ in size by at most one; the mean is over anchors, so that each example
    counts the same. Groups beyond the size of the batch stay empty, and an anchor alone in its group has no
    negatives and costs 0. One group is `InfoNCELoss`.

    An anchor meets B/g − 1 negatives. Time and memory of the similarities fall with g; the learning rate and
    the temperature that suit them move as well. On several ranks groups are cut from the batch of all ranks,
    and the loss is that of one process: each rank computes its own anchors against their groups alone. Where
    every group is made of whole ranks, as the paper's are (g divides their number, and all hold as many rows),
    embeddings are exchanged inside the groups alone; else those of all ranks are.

    As the order of the batch decides who meets whom, it must change from epoch to epoch.

    Args:
        groups: g ≥ 1.
        temperature: τ; a number is fixed. The default is learned from 0.07, within [0.01, 1].

    Raises:
        ValueError: for g < 1, or embeddings that do not pair up.

    Source: Guo et al., "M2-Encoder: Advancing Bilingual Image-Text Understanding by Large-scale Efficient
    Pretraining" (2024), arXiv 2401.15896.

    >>> x = torch.eye(8)                              # one negative each: log(1 + 1 / e)
    >>> round(GroupedInfoNCELoss(4, temperature=1.0)(x, x).item(), 4)
    0.3133
    """

    family = "softmax"
    is_method = True
    ordered = True
    symmetric = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.03, 0.2)}
    papers = ("m2-encoder",)

    def __init__(self, groups: Count = 4, *, temperature: Positive | Temperature | None = None) -> None:
        super().__init__()
        self.groups = groups
        self.temperature = Temperature.of(temperature, Temperature(0.07, bounds=(0.01, 1.0)))

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y``, of which row i of one belongs to row i of the other."""
        x, y = paired(x=x, y=y)
        x = self.temperature.scale(x)
        counts = self.ranks.counts(len(x), x.device)
        n, index = sum(counts), self.index(x)
        borders = list(pairwise(n * k // self.groups for k in range(self.groups + 1)))
        if self.ranks.size == 1:
            return self.mean(torch.cat([self._both(x[a:b], y[a:b]) for a, b in borders if a < b]))
        if sizes := whole_ranks(counts, self.groups):
            return self.mean(self._both(x, y, self.ranks.part(sizes)))
        start = sum(counts[: self.ranks.rank])
        # The rows of all ranks, differentiable.
        all_x, all_y = (self.ranks.sum(z.new_zeros(n, z.shape[1]).index_copy(0, index, z)) for z in (x, y))
        losses = [dot(all_x[:0], all_y[:0])]  # every rank has a part in the sums, one without rows too
        for first, last in borders:
            local = slice(max(first - start, 0), max(last - start, 0))
            if len(x[local]):
                forth = self._directed(x[local], y[local], all_y[first:last])
                back = self._directed(y[local], x[local], all_x[first:last])
                losses.append((forth + back) / 2)
        return self.mean(torch.cat(losses))

    def _both(self, x: Tensor, y: Tensor, ranks: Ranks | None = None) -> Tensor:
        """Return the mean of both directions, of a group that these ranks hold among them: one matrix serves both."""
        r = self.reduce(
            lambda tile: {"row": {"group": (e := LogSumExp(tile.dot()))}, "column": {"group": e}},
            rows={"z": x},
            columns={"z": y},
            ranks=ranks,
        )
        return (r.row.group + r.column.group) / 2 - dot(x, y)

    def _directed(self, anchors: Tensor, partners: Tensor, group: Tensor) -> Tensor:
        r = self.reduce(
            lambda tile: {"row": {"group": LogSumExp(tile.dot())}},
            rows={"z": anchors},
            columns={"z": group},
            same_columns=True,
        )
        return r.row.group - dot(anchors, partners)


def whole_ranks(counts: Sequence[int], groups: int) -> list[int]:
    """Count the ranks of each group; return nothing where a group begins or ends within a rank's rows.

    >>> whole_ranks([4, 4, 4, 4], 2), whole_ranks([4, 4, 4], 2), whole_ranks([2, 4, 6], 2)
    ([2, 2], [], [2, 1])
    """
    n, ends = sum(counts), [*accumulate(counts)]
    borders = [n * k // groups for k in range(groups + 1)]
    if len(set(borders)) < len(borders) or not set(borders[1:]) <= set(ends):
        return []
    # A rank without rows, the last one too, goes with the one before it: every rank has a group.
    return [last - first for first, last in pairwise([0, *(bisect(ends, border) for border in borders[1:])])]
