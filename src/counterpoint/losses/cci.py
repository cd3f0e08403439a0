"""Supervised contrast whose positives are of other domains and whose negatives are of other classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired_views, softplus
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction, Sum
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile


class CCILoss(PairwiseLoss):
    """Each view must find the views of its class that are of other domains among those of other classes.

        loss = mean_a mean_{p∈P(a)} −log [ exp(<z_a, z_p>/τ) / (exp(<z_a, z_p>/τ) + Σ_{n∈N(a)} exp(<z_a, z_n>/τ)) ]

    N(a) are all views of other classes. P(a) are the views of a's class in other domains, and the other views of a
    itself. Where no other domain has a's class, P(a) are all other views of the class. A view of the same class and
    domain is otherwise in neither set. An example labelled −1 is a class of its own, and all examples of the domain −1
    are of one domain. An anchor without positives is left out of the mean, which is 0 where all are.

    Args:
        temperature: τ; a number is fixed.

    Raises:
        ValueError: for labels or domains that are not one integer per row, and views that do not match.

    Source: Zhou et al., "Adapting Large Multimodal Models to Distribution Shifts: The Role of In-Context Learning"
    (2024), arXiv 2405.12217. Its code is not public; the formula is reconstructed from the description of
    class-conditioned contrastive invariance.

    >>> x = torch.eye(4)                              # one positive of the other domain and two negatives, all at 0
    >>> labels, domains = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    >>> round(CCILoss(temperature=1.0)(x, labels=labels, domains=domains).item(), 4)
    1.0986
    """

    family = "labels"
    symmetric = True
    needs_labels = True
    many_views = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.03, 0.5)}
    papers = ("invariantselectpr",)

    def __init__(self, temperature: Positive | Temperature = 0.1) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.1))

    def forward(
        self,
        *views: Float[Tensor, "B d"],
        labels: Int[Tensor, " B"],
        domains: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm views of the same examples.

        Args:
            views: of the examples.
            labels: the class of each, −1 for none.
            domains: of each; one for all unless given.
        """
        each = paired_views(views, least=1)
        count, item = len(each), self.index(each[0])
        domains = torch.zeros_like(item) if domains is None else domains
        for name, one in (("labels", labels), ("domains", domains)):
            if one.shape != item.shape or one.is_floating_point():
                raise ValueError(
                    f"{name} must be one integer per row, ({len(item)},), got {tuple(one.shape)} {one.dtype}"
                )
        sides = {"item": item, "group": torch.where(labels < 0, -1 - item, labels), "domain": domains}
        columns = {name: side.repeat(count) for name, side in sides.items()}
        columns |= {
            "z": torch.cat(each),
            "place": torch.cat([item * count + view for view in range(count)]),
        }
        rows = {**columns, "z": self.temperature.scale(columns["z"])}

        def negatives(tile: Tile) -> dict[str, dict[str, Reduction]]:
            group, logits = tile.same("group"), tile.dot()
            far = (group & ~tile.same("domain")).to(logits)
            return {"row": {"negatives": LogSumExp(logits.masked_fill(group, NEG)), "far": Sum(far)}}

        first = self.reduce(negatives, rows=rows, columns=columns).row

        def positives(tile: Tile) -> dict[str, dict[str, Reduction]]:
            chosen = ~tile.same("domain") | tile.same("item") | (tile.row.far[:, None] == 0)
            chosen = chosen & tile.same("group") & ~tile.same("place")
            # log(e^s + e^n) − s, which is 0 without negatives.
            terms = softplus(tile.row.negatives[:, None] - tile.dot())
            return {"row": {"terms": Sum(terms * chosen), "count": Sum(chosen.to(terms))}}

        rows |= {"negatives": first.negatives, "far": first.far.detach()}
        r = self.reduce(positives, rows=rows, columns=columns).row
        return self.mean(r.terms / r.count.clamp_min(1), weights=(r.count > 0).to(r.count))
