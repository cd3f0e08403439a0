"""SCAV: sequences of vectors are compared as sequences, and not as the means of their vectors."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Count, Positive
from ..pairwise import recording
from ..pairwise.inputs import upcast
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile
from ._distances import lengths_of, resampled, root, sinkhorn, soft_dtw
from .mil import check_bags

Distance = Literal["euclidean", "squared", "dtw", "wasserstein"]
"""Distances of two sequences: vectors time by time, along the best warping of time, or in any order."""
_PANEL = 1 << 22
"""Costs of pairs of times that are held at once outside of the engine."""


class SCAVLoss(PairwiseLoss):
    """InfoNCE on minus the distance of two sequences, with logits −D_ij / τ.

    =================  ==================================================================================
    ``"euclidean"``    (1/L) Σ_t ‖x_t − y_t‖, both resampled linearly to L steps, ends on ends
    ``"squared"``      (1/L) Σ_t ‖x_t − y_t‖², a sum over time of inner products
    ``"dtw"``          soft minimum over all warpings of the sum of ‖x_n − y_m‖, over N + M
    ``"wasserstein"``  entropic optimal transport between the vectors, of cost ‖x_n − y_m‖, blind to order
    =================  ==================================================================================

    L is one length for the whole batch, that of the longest sequence on either side and on all ranks, else distances of
    different pairs could not be compared. Masks cover what is behind the end of a sequence, which changes nothing. With
    one vector a side all but ``"wasserstein"`` and ``"dtw"`` are InfoNCE on the distance of two vectors; so are these
    two, but for the half by which ``"dtw"`` is divided. Sequences that begin and end at different times need ``"dtw"``.
    On several ranks N and M must be the same everywhere for these two.

    A ``tile`` of r and c sequences holds r · c · L distances of vectors (``"euclidean"``), r · c · N · M (``"dtw"``,
    ``"wasserstein"``) or r · c; unless given, it is so many times smaller.

    Args:
        distance: D.
        smoothing: γ of the soft minimum.
        entropy: ε of the transport.
        iterations: of Sinkhorn.
        temperature: τ; a number is fixed. The default is learned from 0.07 within [0.01, 1].

    Raises:
        ValueError: for inputs or masks whose shapes do not fit, a mask with a gap, or a sequence of nothing.

    Source: "Sequential Contrastive Audio-Visual Learning" (2024), arXiv 2407.05782. There is no released code: the mean
    of norms, the division by N + M, γ, ε and τ are a reading of it.

    >>> x = torch.eye(8)[:, None]                     # matched: distances 0 and √2
    >>> round(SCAVLoss(temperature=1.0)(x, x).item(), 3)
    0.994
    """

    family = "sequences"
    symmetric = True
    papers = ("scav",)

    def __init__(
        self,
        distance: Distance = "euclidean",
        *,
        smoothing: Positive = 0.1,
        entropy: Positive = 0.1,
        iterations: Count = 20,
        temperature: Positive | Temperature | None = None,
    ) -> None:
        super().__init__()
        self.distance: Distance = distance
        self.smoothing, self.entropy, self.iterations = smoothing, entropy, iterations
        self.temperature = Temperature.of(temperature, Temperature(0.07, bounds=(0.01, 1.0)))

    def forward(
        self,
        x: Float[Tensor, "B N d"],
        y: Float[Tensor, "B M d"],
        *,
        x_mask: Bool[Tensor, "B N"] | None = None,
        y_mask: Bool[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of sequences of unit-norm vectors ``x`` and ``y``; masks are True where there is one."""
        check_bags(x, y, x_mask, y_mask)
        x, y = upcast(x), upcast(y)
        of_x, of_y = lengths_of("x", x, x_mask), lengths_of("y", y, y_mask)
        if self.in_step:
            local_longest = max([1, *of_x.tolist(), *of_y.tolist()])  # of a rank without rows too
            longest = max(self.ranks.counts(local_longest, x.device))
            x, y = resampled(x, of_x, longest), resampled(y, of_y, longest)
        # What a pair of sequences holds at once: distances in step, those of all times, or one product over time.
        bags = {"euclidean": (x.shape[1], 1), "squared": (1, 1)}.get(self.distance, (x.shape[1], y.shape[1]))

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            a, b = tile.row.z, tile.column.z
            far = self.all_pairs(a, b, tile.row.length, tile.column.length)
            everything = LogSumExp(-recording.matrix(far, a, b, -1) * tile.scale)
            return {"row": {"all": everything}, "column": {"all": everything}}

        scale = self.temperature.inverse(x.dtype).to(x.device)
        r = self.reduce(
            terms,
            rows={"z": x, "length": of_x},
            columns={"z": y, "length": of_y},
            shared={"scale": scale},
            bags=bags,
        )
        with torch.autocast(x.device.type, enabled=False):
            near = recording.diagonal(self.matched(x, y, of_x, of_y), x, y, -1)
        return self.mean(r.row.all + r.column.all + 2 * near * scale) / 2

    @property
    def in_step(self) -> bool:
        """True of the distances that compare sequences time by time."""
        return self.distance in ("euclidean", "squared")

    def all_pairs(
        self,
        x: Float[Tensor, "r N d"],
        y: Float[Tensor, "c M d"],
        of_x: Int[Tensor, " r"],
        of_y: Int[Tensor, " c"],
    ) -> Float[Tensor, "r c"]:
        """Return the distance of each of some sequences from each of others; those in step are of one length."""
        r, c = len(x), len(y)
        if self.distance == "squared":  # over time and dimensions at once
            a, b = x.flatten(1), y.flatten(1)
            return _squared(a, b) / x.shape[1]
        if self.distance == "euclidean":
            return root(_squared(x.transpose(0, 1), y.transpose(0, 1))).mean(0)
        costs = root(_squared(x.flatten(0, 1), y.flatten(0, 1))).view(r, x.shape[1], c, y.shape[1])
        rows, columns = of_x.repeat_interleave(c), of_y.repeat(r)
        return self._over(costs.permute(1, 3, 0, 2).flatten(2), rows, columns).view(r, c)

    def matched(
        self,
        x: Float[Tensor, "B N d"],
        y: Float[Tensor, "B M d"],
        of_x: Int[Tensor, " B"],
        of_y: Int[Tensor, " B"],
    ) -> Float[Tensor, " B"]:
        """Return the distance of each sequence from its own."""
        if self.in_step:
            squared = (x - y).square().sum(-1)
            return (squared if self.distance == "squared" else root(squared)).mean(1)
        return self._over(root(_squared(x, y)).permute(1, 2, 0), of_x, of_y)

    @torch.no_grad()
    def distances(self, x: Float[Tensor, "n L d"], y: Float[Tensor, "m L d"]) -> Float[Tensor, "n m"]:
        """Return the distances of all pairs of sequences of one length, in use, some rows at a time."""
        steps, size = x.shape[1], len(y) * x.shape[1] * (1 if self.in_step else y.shape[1])
        of_y = y.new_full((len(y),), steps, dtype=torch.long)
        parts = [
            self.all_pairs(part, y, part.new_full((len(part),), steps, dtype=torch.long), of_y)
            for part in torch.split(x, max(1, _PANEL // max(size, 1)))
        ]
        return torch.cat(parts)

    def _over(
        self, costs: Float[Tensor, "N M P"], rows: Int[Tensor, " P"], columns: Int[Tensor, " P"]
    ) -> Float[Tensor, " P"]:
        if self.distance == "dtw":
            return soft_dtw(costs, rows, columns, self.smoothing) / (rows + columns)
        return sinkhorn(costs, rows, columns, self.entropy, self.iterations)


def _squared(x: Float[Tensor, "*t r d"], y: Float[Tensor, "*t c d"]) -> Float[Tensor, "*t r c"]:
    """Return squared distances by inner products, since the differences themselves would be (r, c, d)."""
    return x.square().sum(-1)[..., None] + y.square().sum(-1)[..., None, :] - 2 * (x @ y.mT)
