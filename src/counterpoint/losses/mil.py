"""Multiple instance learning: a bag of regions against a bag of sentences, of which only the bags are matched."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Positive
from ..pairwise import recording
from ..pairwise.inputs import lacks_rows, upcast
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile

Pooling = Literal["mean", "max", "lse", "attention", "noisy_or"]
"""From the similarities of a sentence with all regions to one score."""


class MILLoss(PairwiseLoss):
    """InfoNCE between images and documents, scored by a permutation-invariant pooling over regions.

        h_nm = <x_n, y_m>,   F(X, Y) = mean over the sentences m of Y of ρ_n h_nm
        loss = ½ mean_i [CE(F(X_i, ·)/τ, i) + CE(F(·, Y_i)/τ, i)]

    ===============  ====================================================================================
    ``"mean"``       mean_n h_nm, which is also the similarity with the mean region
    ``"max"``        max_n h_nm; only one region has a gradient
    ``"lse"``        (1/γ) log mean_n exp(γ h_nm): the mean for γ → 0, the maximum for γ → ∞
    ``"attention"``  Σ_n a_n h_nm with a = softmax_n(γ h_nm), the similarity with the region attended to
    ``"noisy_or"``   1 − Π_n (1 − max(h_nm, 0)): some region matches
    ===============  ====================================================================================

    Sentences of other documents are negatives, those of the own document never. Padding of either side is
    masked and changes nothing. γ says how evenly regions share a gradient (as softmax_n(γ h_nm), for LSE), τ
    how large it is: choose them together. A batch of one costs nothing.

    The paper's LSE+NL adds a global score, of the mean of regions that have seen each other, to the local
    one: ``loss(x, y) + loss(g, y)`` with ``g = normalize(NonLocal(d)(x).mean(1, keepdim=True), dim=-1)``, a
    single region, for which all poolings but noisy-or are the identity.

    On several ranks N and M must be the same everywhere. A ``tile`` of r images and c documents holds r · N · c · M
    similarities; unless given, it is so many times smaller.

    Args:
        pooling: ρ.
        gamma: γ > 0, of ``"lse"`` and ``"attention"``.
        temperature: τ; a number is fixed. The default is learned from 0.07 within [0.01, 1].

    Raises:
        ValueError: for another pooling, γ ≤ 0, inputs or masks whose shapes do not fit, or an example all of
            whose regions or sentences are masked.

    Source: Wang et al., "Using Multiple Instance Learning to Build Multimodal Representations" (2022), arXiv
    2212.05561.

    >>> x = torch.eye(8)[:, None]                     # one region, one sentence: log(1 + 7 / e)
    >>> round(MILLoss(temperature=1.0)(x, x).item(), 4)
    1.274
    """

    family = "local features"
    papers = ("mil-multimodal",)

    def __init__(
        self,
        pooling: Pooling = "lse",
        *,
        gamma: Positive = 5.0,
        temperature: Positive | Temperature | None = None,
    ) -> None:
        super().__init__()
        self.pooling, self.gamma = pooling, gamma
        self.temperature = Temperature.of(temperature, Temperature(0.07, bounds=(0.01, 1.0)))

    def forward(
        self,
        x: Float[Tensor, "B N d"],
        y: Float[Tensor, "B M d"],
        *,
        x_mask: Bool[Tensor, "B N"] | None = None,
        y_mask: Bool[Tensor, "B M"] | None = None,
        groups: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm regions ``x`` and sentences ``y``; masks are True where there is one.

        Examples of one group, where groups are given, are no negatives of each other.
        """
        check_bags(x, y, x_mask, y_mask)
        x, y = upcast(x), upcast(y)
        if self.pooling == "mean":  # linear in both: the mean vectors of the bags will do
            x, y, x_mask, y_mask = middle(x, x_mask), middle(y, y_mask), None, None

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            h = tile.dot()
            scores = recording.matrix(self.score(h, *of_pairs(tile)), tile.row.z, tile.column.z)
            logits = scores * tile.scale
            if groups is not None:
                logits = logits.masked_fill(tile.same("group") & (tile.i != tile.j), NEG)
            everything = LogSumExp(logits)
            return {"row": {"all": everything}, "column": {"all": everything}}

        scale = self.temperature.inverse(x.dtype).to(x.device)
        of_groups = {} if groups is None else {"group": groups}
        r = self.reduce(
            terms,
            rows=with_mask(x, x_mask) | of_groups,
            columns=with_mask(y, y_mask) | of_groups,
            shared={"scale": scale},
            bags=(x.shape[1], y.shape[1]),
        )
        with torch.autocast(x.device.type, enabled=False):
            scores = self.score(torch.einsum("bnd,bmd->bnm", x, y), x_mask, y_mask)
            positive = recording.diagonal(scores, x, y) * scale
        return self.mean(r.row.all + r.column.all - 2 * positive) / 2

    def score(
        self,
        h: Float[Tensor, "*B N M"],
        x_mask: Bool[Tensor, "*#B N"] | None,
        y_mask: Bool[Tensor, "*#B M"] | None,
    ) -> Float[Tensor, "*B"]:
        """Return F, from the similarities of regions with sentences; without a mask, of all of them."""
        pooled = self.pool(h, None if x_mask is None else x_mask[..., None])
        if y_mask is None:
            return pooled.mean(-1)
        sentences = y_mask.to(h.dtype)
        return (pooled * sentences).sum(-1) / sentences.sum(-1)

    def pool(
        self, h: Float[Tensor, "*B N M"], regions: Bool[Tensor, "*#B N 1"] | None
    ) -> Float[Tensor, "*B M"]:
        """Return ρ over the regions that are there."""

        def without(values: Tensor, fill: float) -> Tensor:
            return values if regions is None else values.masked_fill(~regions, fill)

        count = torch.tensor(h.shape[-2]) if regions is None else regions.sum(-2)
        if self.pooling == "mean":
            return without(h, 0).sum(-2) / count
        if self.pooling == "max":
            return without(h, NEG).amax(-2)
        if self.pooling == "noisy_or":
            return 1 - (1 - without(h.clamp_min(0), 0)).prod(-2)
        sharp = without(self.gamma * h, NEG)
        if self.pooling == "attention":
            return (sharp.softmax(-2) * h).sum(-2)
        return (sharp.logsumexp(-2) - count.to(h.dtype).log()) / self.gamma


def middle(bags: Float[Tensor, "B n d"], mask: Bool[Tensor, "B n"] | None) -> Float[Tensor, "B 1 d"]:
    """Compute the mean of the vectors of each bag."""
    if mask is None:
        return bags.mean(1, keepdim=True)
    return bags.masked_fill(~mask[..., None], 0).sum(1, keepdim=True) / mask.sum(1)[:, None, None]


def with_mask(bags: Float[Tensor, "B n d"], mask: Bool[Tensor, "B n"] | None) -> dict[str, Tensor]:
    """Return one side of a similarity matrix of bags, for `of_pairs`."""
    return {"z": bags} if mask is None else {"z": bags, "mask": mask}


def of_pairs(tile: Tile) -> tuple[Bool[Tensor, "r 1 N"] | None, Bool[Tensor, "1 c M"] | None]:
    """Return the masks of a tile's rows and columns, where they have any, as they stand beside its similarities."""
    row, column = (getattr(side, "mask", None) for side in (tile.row, tile.column))
    return None if row is None else row[:, None], None if column is None else column[None]


def check_bags(x: Tensor, y: Tensor, x_mask: Tensor | None, y_mask: Tensor | None) -> None:
    """Raise ValueError for bags or masks that do not fit."""
    for name, bag in (("x", x), ("y", y)):
        if bag.ndim != 3 or 0 in bag.shape[1:] or lacks_rows(bag) or not bag.is_floating_point():
            raise ValueError(
                f"{name} must be floating (B, n, d) of no size 0, got {bag.dtype} {tuple(bag.shape)}"
            )
    if len(x) != len(y) or x.shape[2] != y.shape[2]:
        raise ValueError(
            f"x is {tuple(x.shape)} but y is {tuple(y.shape)}: row i of one must belong to row i of the other, "
            "in the same dimensions"
        )
    for name, bag, mask in (("x", x, x_mask), ("y", y, y_mask)):
        if mask is None:
            continue
        if mask.shape != bag.shape[:2] or mask.dtype != torch.bool:
            raise ValueError(
                f"{name}_mask must be boolean {tuple(bag.shape[:2])}, got {mask.dtype} {tuple(mask.shape)}"
            )
        empty = (~mask.any(1)).nonzero()[:, 0].tolist()
        if empty:
            raise ValueError(f"{name}_mask leaves nothing of the examples at {empty[:5]}")
