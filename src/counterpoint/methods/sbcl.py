"""SBCL: large classes are split into subclasses as large as the rarest class, which count alike in the contrast."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Count, Natural, NonNegative, Positive
from ..losses import SBCLLoss
from ..networks.base import Towers
from ..networks.clusters import balanced_kmeans
from ..networks.state.item_state import ItemState
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, Target, TrainingExamples
from .base import Ranges
from .needs import Needs
from .single_loss import SingleLoss

_MANY = 10  # classes of which percentiles can be told


class SBCL(SingleLoss):
    """`SBCLLoss` of two views of each example, with subclasses that follow from the embeddings of all examples.

    A class of n examples has ⌊n / M⌋ subclasses, one at least, of nearly equal size (`balanced_kmeans`), with
    M = max(the size of the smallest class, ``smallest``). They are found after ``warmup`` epochs of SupCon, and again
    every ``every`` epochs. The temperature of a class in the coarse term follows from how dense it is,

        φ_c = mean_i ‖z_i − z̄_c‖ / log(n_c + 10),   τ_c = τ φ_c / mean φ,

    with φ between its 20th and 80th percentiles over classes, as in the release (of fewer than ten classes, between
    half and twice their mean); it is τ where a class is one subclass. With one subclass a class and β = 0 it is
    ``supcon``.

    Args:
        towers: of one column.
        recipe: gives the widths of the head.
        target: the label whose classes they are; ``group`` unless given.
        temperature: τ.
        beta: β, of the coarse term.
        every: epochs from one search for subclasses to the next; fewer where large classes move fast.
        warmup: epochs of SupCon; the first search is at the first multiple of ``every`` from there on.
        smallest: the least size of a subclass.
        subclasses: found by clusters, or by chance with the same sizes: the control that tells whether clusters matter.

    Raises:
        ValueError: for an option out of its range.

    Source: Hou et al., "Subclass-balancing Contrastive Learning for Long-tailed Recognition" (2023), arXiv 2306.15925.
    """

    family = "supervised"
    needs: ClassVar[Needs] = Needs(1, 1, prefers="image")
    papers = ("sbcl",)
    learns = ("classes",)
    default_label = "group"
    tunable: ClassVar[Ranges] = SBCLLoss.tunable

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        temperature: Positive = 0.1,
        beta: NonNegative = 0.25,
        every: Count = 10,
        warmup: Natural = 10,
        smallest: Count = 10,
        subclasses: Literal["clusters", "random"] = "clusters",
    ) -> None:
        super().__init__(towers, recipe, SBCLLoss(temperature, beta=beta), "sbcl", target=target)
        self.epoch_start_every, self.warmup, self.smallest, self.subclasses = (
            every,
            warmup,
            smallest,
            subclasses,
        )
        self.temperature, self.items = temperature, ItemState(subclass=-1.0, temperature=temperature)

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Find the subclasses of all examples, and the temperatures of their classes."""
        if clock.epoch < self.warmup:
            return
        classes = examples.labels[self.labels]
        known = classes >= 0
        z, classes = examples.map(self._embedded)[known].float(), classes[known]
        seed = int(torch.randint(2**31, ()))  # the same on every rank
        numbers = split(z, classes, self.smallest, seed=seed, by=self.subclasses)
        temperatures = self.temperature * warmth(z, classes, numbers)
        device = self.items.ids.device
        self.items.store(
            examples.ids[known].to(device),
            subclass=numbers.float().to(device),
            temperature=temperatures.to(device),
        )

    def passes(self) -> dict[str, float]:
        return {modality: count + 1 / self.epoch_start_every for modality, count in super().passes().items()}

    def loss_inputs(self, z: Embeddings, batch: Batch) -> dict[str, Tensor]:
        extras = super().loss_inputs(z, batch)
        if len(self.items.ids) > 1:  # nothing is known during the warm-up
            subclasses, temperatures = self.items.recall(batch.ids)
            extras |= {"subclasses": subclasses.long(), "temperatures": temperatures}
        return extras

    def _embedded(self, batch: Batch) -> Float[Tensor, "B d"]:
        ((column, name),) = self.columns.items()
        return F.normalize(self.projections[name](self.features(column, batch[column])), dim=-1)


def split(
    z: Float[Tensor, "n d"],
    classes: Int[Tensor, " n"],
    smallest: int,
    *,
    seed: int,
    by: Literal["clusters", "random"],
) -> Int[Tensor, " n"]:
    """Return the subclass of every example, numbered through all classes.

    >>> split(torch.eye(5), torch.tensor([0, 0, 0, 0, 1]), 2, seed=0, by="clusters").bincount().tolist()
    [2, 2, 1]
    """
    counts = classes.bincount()
    size = max(int(counts[counts > 0].min()), smallest)
    draws = torch.Generator().manual_seed(seed)
    numbers, first = torch.zeros_like(classes), 0
    for number in torch.nonzero(counts)[:, 0].tolist():
        rows = torch.nonzero(classes == number)[:, 0]
        count = max(len(rows) // size, 1)
        if by == "random":
            clusters = torch.randperm(len(rows), generator=draws) % count
        else:
            clusters = balanced_kmeans(z[rows], count, seed=seed)
        numbers[rows] = first + clusters
        first += count
    return numbers


def warmth(
    z: Float[Tensor, "n d"], classes: Int[Tensor, " n"], subclasses: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Return the factor of each example's temperature: below 1 in dense classes, 1 in those of one subclass."""
    of, inverse = torch.unique(classes, return_inverse=True)
    counts = inverse.bincount().to(z)
    means = z.new_zeros(len(of), z.shape[1]).index_add_(0, inverse, z) / counts[:, None]
    spread = (
        z.new_zeros(len(of)).index_add_(0, inverse, (z - means[inverse]).norm(dim=1))
        / counts
        / (counts + 10).log()
    )
    if len(of) < _MANY:
        low, high = 0.5 * spread.mean(), 2 * spread.mean()
    else:
        low, high = torch.quantile(spread, spread.new_tensor([0.2, 0.8]))
    spread = spread.clamp(low, high)
    factor = spread / spread.mean() if spread.mean() > 0 else torch.ones_like(spread)
    alone = torch.tensor([bool((subclasses[inverse == k].diff() == 0).all()) for k in range(len(of))])
    return torch.where(alone.to(factor.device), 1.0, factor)[inverse]
