"""Decoupled uniformity with prior knowledge: examples whose attributes are alike share their views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..forms import Positive
from ..losses import DecoupledUniformityLoss
from ..networks.base import Towers
from ..pairwise import draws, moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Kind
from .base import Ranges
from .needs import Needs
from .single_loss import SingleLoss

_CHANCE = 12  # a stream of draws of its own


class KernelUniformity(SingleLoss):
    """Two views of each example, whose centroids are mixed by a kernel on attributes before they are spread.

        μ_i = (z_i¹ + z_i²) / 2,   L = log mean_{i ≠ j} exp(−t ‖(A μ)_i − (A μ)_j‖²),   A = (K + λI)⁻¹ K

    K is the kernel of the attributes g, as `DecoupledUniformityLoss` computes it. g has a column of 0 and 1 for every
    class and every tag of the labels that ``prior`` names; what is not known of an example is 0 throughout. Attributes
    may be weak: they say which examples are alike, and nothing is predicted; of pictures with captions ``prior=nouns``
    needs no label. They are used in training alone.

    Args:
        towers: the tower, by its column.
        recipe: gives the widths of SimCLR's perceptron.
        prior: the labels, of classes or tags, with + between them.
        t: > 0; 2 in the authors' code.
        kernel: ``rbf``, exp(−‖g − g'‖²/(2σ²)), or ``cosine``.
        sigma: σ > 0 of ``rbf``; unless given, the median distance of two examples of the batch.
        ridge: λ > 0.
        chance: whether each example has the attributes of another of its batch, which leaves the spectrum of A as it
            is: a control.

    Raises:
        ValueError: for options out of range.

    Source: Dufumier et al., "Integrating Prior Knowledge in Contrastive Learning with Kernel" (2022), arXiv 2206.01646.
    Its other prior, features of a generative model, is `DecoupledUniformityLoss` in a loop of one's own.
    """

    family = "one modality"
    papers = ("decoupled-uniformity",)
    needs: ClassVar[Needs] = Needs(1, 1)
    further: ClassVar[Mapping[str, tuple[Kind, ...]]] = {"prior": ("classes", "tags")}
    tunable: ClassVar[Ranges] = {"t": (0.5, 8.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        prior: str,
        t: Positive = 2.0,
        kernel: Literal["rbf", "cosine"] = "rbf",
        sigma: Positive | None = None,
        ridge: Positive = 0.01,
        chance: bool = False,
    ) -> None:
        loss = DecoupledUniformityLoss(t, kernel=kernel, sigma=sigma, ridge=ridge)
        super().__init__(towers, recipe, loss, "kernel-uniformity")
        self.prior, self.chance = prior.split("+"), chance

    def loss_inputs(self, z: Embeddings, batch: Batch) -> dict[str, Tensor]:
        prior = torch.cat([attributes(batch.labels[name]) for name in self.prior], dim=1)
        if self.chance:
            # Among all ranks' examples, so that the control does not depend on who holds which.
            ranks = Ranks.present()
            counts = ranks.counts(len(prior), prior.device)
            ids, of_all = ranks.gather(batch.ids, counts), ranks.gather(prior, counts)
            prior = of_all[draws.uniform(ids, 1, _CHANCE)[:, 0].argsort()][ranks.rows(counts)]
        return {"prior": prior}


def attributes(label: Tensor) -> Float[Tensor, "B width"]:
    """Return a column of 0 and 1 for every class ``(B,)``, or every tag ``(B, C)``; as many on every rank.

    >>> attributes(torch.tensor([1, -1, 0]))
    tensor([[0., 1.],
            [0., 0.],
            [1., 0.]])
    """
    if label.ndim == 2:
        return (label == 1).float()
    classes = int(moments.largest(label.float(), ranks=Ranks.present())) + 1
    # Class -1, of an example without one, would be a class of its own.
    return F.one_hot(label + 1, classes + 1)[:, 1:].float()
