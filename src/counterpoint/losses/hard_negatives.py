"""InfoNCE in one direction, with any number of hard negatives for every anchor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile


class HardNegativesLoss(PairwiseLoss):
    """Each x must find its y among all y of the batch and the hard negatives of all anchors.

        loss = mean_i  log [ Σ_j exp(<x_i, y_j>/τ) + Σ_jk exp(<x_i, n_jk>/τ) ] − <x_i, y_i>/τ

    A negative that does not count has no term. With ``documents``, which say which y and n are the same thing, those
    that are the anchor's own y are no negatives of it. Without negatives and documents it is `SimCSELoss`; a batch of
    one without negatives costs 0.

    Args:
        temperature: τ; a number is fixed.

    Raises:
        ValueError: for embeddings, negatives and documents that do not go together.

    Source: Li et al., "Conan-embedding: General Text Embedding with More and Better Negative Samples" (2024), arXiv
    2408.15710: the retrieval term, over the positives and the negatives of all processes.

    >>> x = torch.eye(4)                     # the match at 1, three others and four negatives at 0: log(1 + 7 / e)
    >>> round(HardNegativesLoss(temperature=1.0)(x, x, torch.zeros(4, 1, 4)).item(), 4)
    1.274
    """

    family = "softmax"
    is_method = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.01, 0.2)}
    papers: ClassVar[tuple[str, ...]] = ("conan-embedding",)

    def __init__(self, temperature: Positive | Temperature = 0.02) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.02))

    def forward(
        self,
        x: Float[Tensor, "B d"],
        y: Float[Tensor, "B d"],
        negatives: Float[Tensor, "B M d"] | None = None,
        counts: Bool[Tensor, "B M"] | None = None,
        documents: tuple[Int[Tensor, " B"], Int[Tensor, "B M"]] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm anchors, what belongs to them, and their hard negatives.

        Args:
            x: the anchors.
            y: what belongs to each.
            negatives: of each anchor; all anchors have as many places.
            counts: which places are taken; all unless given.
            documents: a number for each y and each negative, equal ones for the same thing.
        """
        x, y = paired(x=x, y=y)
        anchor = self.temperature.scale(x)
        if negatives is None:
            negatives = y.new_zeros(len(y), 0, y.shape[1])
        if negatives.shape[0] != len(x) or negatives.shape[2] != x.shape[1]:
            raise ValueError(
                f"negatives must be ({len(x)}, M, {x.shape[1]}), as the anchors are, got {tuple(negatives.shape)}"
            )
        every = torch.cat([y, negatives.flatten(0, 1)])
        index = self.index(x)
        there = (
            torch.ones(negatives.shape[:2], dtype=torch.bool, device=y.device) if counts is None else counts
        )
        # An anchor and its own y bear one number; a negative's, which no anchor has, is below 0.
        place = torch.cat([index, torch.full_like(every[len(y) :, 0], -1).long()])
        if documents is None:
            mine, theirs = index, place
        else:
            mine, theirs = documents[0], torch.cat([documents[0], documents[1].flatten()])
        columns = {
            "z": every,
            "place": place,
            "document": theirs,
            "there": torch.cat([torch.ones_like(index, dtype=torch.bool), there.flatten()]),
        }

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            out = (tile.same("document") & ~tile.same("place")) | ~tile.column.there[None]
            return {"row": {"all": LogSumExp(tile.dot().masked_fill(out, NEG))}}

        r = self.reduce(terms, rows={"z": anchor, "place": index, "document": mine}, columns=columns)
        return self.mean(r.row.all - dot(anchor, y))
