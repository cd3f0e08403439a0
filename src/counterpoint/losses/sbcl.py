"""SBCL: subclasses as large as the rarest class are told apart, those of one class less strictly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import NonNegative, Positive
from ..pairwise.inputs import paired_views, upcast
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction, Sum
from ..pairwise.tile import NEG, Tile


class SBCLLoss(PairwiseLoss):
    """Supervised contrast of subclasses, and beside it of classes without the anchor's own subclass.

    With A(a) all views but a itself, Q(a) those of them of a's subclass or example, P(a) those of a's class, and a′ the
    other views of a's example, which belong to both terms:

        fine:    F_a = log Σ_{b∈A(a)} exp(<z_a, z_b>/τ) − mean_{q∈Q(a)} <z_a, z_q>/τ
        coarse:  C_a = log Σ_{b∈A(a)∖Q(a)∪a′} exp(<z_a, z_b>/τ_a) − mean_{p∈P(a)∖Q(a)∪a′} <z_a, z_p>/τ_a
        loss  =  mean_a F_a + β C_a

    With one subclass a class and β = 0 this is SupCon, as it is without subclasses. An example without a class, or
    without a subclass (−1), is one of its own. In one view an anchor that has no positive in a term is left out of that
    term's mean.

    The paper's code for CIFAR multiplies the fine term by τ / 0.07, as SupCon's code does; here both are as they stand.

    Args:
        temperature: τ of the fine term, and of the coarse one where no other is given.
        beta: β; the paper has 0.25 in batches and 0.2 with a queue.

    Raises:
        ValueError: for labels, subclasses or temperatures that are not one a row, or views that do not match.

    Source: Hou et al., "Subclass-balancing Contrastive Learning for Long-tailed Recognition" (2023), arXiv 2306.15925.

    >>> x, classes = torch.eye(4), torch.tensor([0, 0, 1, 1])
    >>> loss = SBCLLoss(temperature=1.0)
    >>> round(loss(x, x, labels=classes, subclasses=torch.arange(4)).item(), 4)    # every example its own subclass
    1.6234
    """

    family = "supervised"
    is_method = True
    symmetric: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True
    many_views: ClassVar[bool] = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.03, 0.5), "beta": (0.05, 1.0)}
    papers: ClassVar[tuple[str, ...]] = ("sbcl",)

    def __init__(self, temperature: Positive = 0.1, *, beta: NonNegative = 0.25) -> None:
        super().__init__()
        self.temperature, self.beta = temperature, beta

    def forward(
        self,
        *views: Float[Tensor, "B d"],
        labels: Int[Tensor, " B"],
        subclasses: Int[Tensor, " B"] | None = None,
        temperatures: Float[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm views of the same examples.

        Args:
            views: of the examples.
            labels: the class of each, −1 for none.
            subclasses: of each, numbered through all classes, −1 for none; without them there is no coarse term.
            temperatures: τ_a of the coarse term, of each example's class.
        """
        each = paired_views(views, least=1)
        count, item = len(each), self.index(each[0])
        beta = 0.0 if subclasses is None else self.beta
        subclasses = labels if subclasses is None else subclasses
        warm = torch.full_like(each[0][:, 0], self.temperature) if temperatures is None else temperatures
        for name, one in (("labels", labels), ("subclasses", subclasses), ("temperatures", warm)):
            if one.shape != item.shape or one.is_floating_point() != (one is warm):
                raise ValueError(
                    f"{name} must be one {'number' if one is warm else 'integer'} per row, ({len(item)},), got "
                    f"{tuple(one.shape)} {one.dtype}"
                )
        # What has no class, or no subclass, is alone in it, whatever numbers others have.
        alone = -1 - item
        sides = {
            "item": item,
            "class": torch.where(labels < 0, alone, labels),
            "subclass": torch.where((labels < 0) | (subclasses < 0), alone, subclasses),
        }
        columns = {name: side.repeat(count) for name, side in sides.items()}
        columns |= {
            "z": torch.cat(each),
            "place": torch.cat([item * count + view for view in range(count)]),
        }
        # τ / τ_a: the fine term's logits become the coarse one's.
        factor = (self.temperature / upcast(warm)).repeat(count)

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits = tile.dot()
            itself, other = tile.same("place"), tile.same("item") & ~tile.same("place")
            fine = (tile.same("subclass") & ~itself) | other
            reductions: dict[str, Reduction] = {
                "all": LogSumExp(logits.masked_fill(itself, NEG)),
                "fine": Sum(logits * fine),
                "fine_count": Sum(fine.to(logits)),
            }
            if beta:
                kept = ~(fine | itself) | other
                positive = kept & (tile.same("class") | other)
                scaled = logits * tile.row.factor[:, None]
                reductions |= {
                    "kept": LogSumExp(scaled.masked_fill(~kept, NEG)),
                    "coarse": Sum(scaled * positive),
                    "coarse_count": Sum(positive.to(logits)),
                }
            return {"row": reductions}

        rows = {**columns, "z": columns["z"] / self.temperature, "factor": factor}
        r = self.reduce(terms, rows=rows, columns=columns).row
        fine = self.mean(r.all - r.fine / r.fine_count.clamp_min(1), weights=(r.fine_count > 0).to(r.all))
        if not beta:
            return fine
        coarse = r.kept - r.coarse / r.coarse_count.clamp_min(1)
        return fine + beta * self.mean(coarse, weights=(r.coarse_count > 0).to(r.all))
