"""Supervised contrast on ranges of a number: the control of `SupReMixLoss`."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ..data.bins import BINS, bin_of, edges_of
from ..forms import Count, Positive
from ..losses import SupConLoss
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Kind, StepInfo, Target, TrainingExamples
from .base import Ranges
from .needs import Needs
from .single_loss import SingleLoss


class SupConBins(SingleLoss):
    """`SupConLoss` of two views of each example, whose classes are ranges of a number.

    The ranges are of equal width from the least to the largest number of training rows, so that they need no unit;
    where training rows have no more different numbers than there are ranges, each is a class of its own. Numbers
    outside are of the first or the last range, and an example without a number has only its own other view as a
    positive. The order of the ranges is not learned: `SupReMixLoss` is the contrast that knows it.

    Args:
        towers: of one column.
        recipe: gives the widths of SimCLR's perceptron.
        target: the label, one of numbers.
        temperature: τ.
        bins: the ranges.

    Raises:
        ValueError: without a label.

    Source: Khosla et al., "Supervised Contrastive Learning" (2020), arXiv 2004.11362; on ranges, as a control for Wu et
    al., "Mixup Your Own Pairs" (2023), arXiv 2309.16633.
    """

    family = "supervised"
    needs: ClassVar[Needs] = Needs(1, 1, prefers="image")
    learns: ClassVar[tuple[Kind, ...]] = ("numbers",)
    papers = ("supremix",)
    tunable: ClassVar[Ranges] = SupConLoss.tunable
    epoch_start_every = 1
    edges: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        temperature: Positive = 0.1,
        bins: Count = BINS,
    ) -> None:
        if target is None:
            raise ValueError(
                "supcon-bins learns a number of each example: name a label of numbers with --labels NAME (counterpoint "
                "data describe lists them)"
            )
        super().__init__(towers, recipe, SupConLoss(temperature), "supcon-bins", target=target)
        # Fewer ranges leave edges over, behind all numbers.
        self.register_buffer("edges", torch.full((bins + 1,), torch.inf))

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        edges = torch.from_numpy(
            edges_of(examples.labels[self.labels].cpu().double().numpy(), len(self.edges) - 1)
        )
        self.edges.fill_(torch.inf)[: len(edges)] = edges.to(self.edges)

    def loss_inputs(self, z: Embeddings, batch: Batch) -> dict[str, Tensor]:
        numbers = super().loss_inputs(z, batch)["labels"]
        bins = bin_of(numbers.cpu().numpy(), self.edges.cpu().numpy())
        return {"labels": torch.from_numpy(bins).to(numbers.device)}
