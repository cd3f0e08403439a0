"""Gradient harmonization: where two partners of an example pull it apart, one of them is probably not its partner."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from ..forms import BelowOne, Positive
from ..losses import InfoNCELoss
from ..networks.base import Towers
from ..pairwise import Temperature
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks as Processes
from ..recipes.schema import Recipe
from ..registry import unknown
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod, paired

Mode = Literal["both", "project", "curriculum", "random", "none"]
"""Remedies: conflicts projected away, conflicting examples left out, both, as many left out at random, or none."""
Cosine = Annotated[float, Field(ge=-1, le=1)]

_NOTHING = 1e-12
"""Norm below which a gradient has no direction."""


class _Pull(NamedTuple):
    """The two losses of a batch, and their gradients in the embeddings, which are detached.

    Attributes:
        losses: of the hub with the first and with the second partner, the second weighted.
        hub: gradients of both losses in the hub's embeddings.
        partners: the gradient of each in its own partner's embeddings.
        temperatures: the gradient of each in its own temperature.
    """

    losses: list[Float[Tensor, ""]]
    hub: list[Float[Tensor, "B d"]]
    partners: list[Float[Tensor, "B d"]]
    temperatures: list[Float[Tensor, ""]]

    @property
    def cosines(self) -> Float[Tensor, " B"]:
        """The cosine of both gradients in the hub, example by example; 0 where one of them does not care."""
        one, other = self.hub
        return F.cosine_similarity(one, other, dim=1, eps=_NOTHING)


class Harmonized(TowerMethod):
    """Gradient harmonization of two losses in the embedding v of the hub.

    L = N(v, a) + λ N(v, t), with the gradients of both in v, g_a and g_t, harmonised::

        c = cos(g_a, g_t), example by example
        project:     where c < 0:  g_a ← g_a − (g_a·g_t / ‖g_t‖²) g_t,  g_t ← g_t − (g_t·g_a / ‖g_a‖²) g_a
        curriculum:  where c ≤ γ nothing of the example learns: no gradient in its v, a or t
                     γ rises linearly from ``threshold`` to ``last``
        random:      as many learn as under ``curriculum``, whichever they are: what the choice is to be measured by

    N is symmetric InfoNCE with a learnt temperature for each pair. Both projections use the gradients as they were, so
    that their order does not matter; a gradient without direction is left alone. v is the embedding before it is
    brought to unit norm; what is projected there is what towers and heads learn from. Temperatures learn from the plain
    losses. The gradient of an example is that of its row of the loss of the whole batch, on any number of ranks and in
    any microbatches. A run logs ``kept``, the share of a step's batch that learns. Where a whole batch is left out
    towers and heads stay as they are, their moments and decay too, while steps, and so γ, go on.

    Conflicts elsewhere than in the hub are not seen, and the second loss has one positive: the example's own. (The
    paper has texts close in time, MIL-NCE.) The projection, the schedule and its numbers are from memory, and no code
    was found: the paper's abstract was read.

    Args:
        towers: the towers of three columns.
        recipe: gives the width of the embedding.
        hub: the column that both others are compared with; the first unless given.
        mode: which remedies.
        weight: λ, of the pair of the hub and the last column.
        threshold, last: γ at the beginning and at the end.
        plain: the share of the steps before the first remedy: gradients of an untrained model say nothing.
        temperature: where both τ start; they are kept in [0.01, 1].

    Raises:
        UnknownNameError: for a hub that is no column of the method.
        ValueError: for options out of their range.

    Source: Wu et al., "Scaling Multimodal Pre-Training via Cross-Modality Gradient Harmonization" (2022), arXiv
    2211.02077; the projection of Yu et al., "Gradient Surgery for Multi-Task Learning" (2020), arXiv 2001.06782.
    """

    family = "more than two modalities"
    papers = ("gradient-harmonization",)
    needs: ClassVar[Needs] = Needs(3, 3)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "weight": (0.25, 4.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        hub: str = "",
        mode: Mode = "both",
        weight: Positive = 1.0,
        threshold: Cosine = -0.3,
        last: Cosine = 0.0,
        plain: BelowOne = 0.05,
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers)
        self.hub = hub or next(iter(towers))
        if self.hub not in towers:
            raise unknown("hub", hub, towers)
        self.views = paired(towers)
        self.projections = nn.ModuleDict(linear_heads(towers, recipe.widths.embedding))
        self.partners = tuple(column for column in towers if column != self.hub)
        self.objectives = nn.ModuleDict(
            {column: InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0))) for column in self.partners}
        )
        self.mode, self.weight, self.plain, self.draws = mode, weight, plain, mode == "random"
        self.threshold, self.last = threshold, last
        self._share = 1.0  # of the last batch

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        embeddings = {column: self.project(column, z[column], "global") for column in self.columns}
        pull = self.pull(embeddings)
        kept = self.learning_mask(pull.cosines, clock)
        of_all = Processes.present().total(kept.sum())
        self._share = float(of_all / Processes.present().total(torch.ones_like(kept).sum()))
        terms = {}
        for column, loss, gradient in zip(self.partners, pull.losses, pull.temperatures, strict=True):
            terms[column] = loss + _towards(self._temperature(column), gradient)
        if of_all == 0:
            return terms
        hub = harmonised(*pull.hub) if self._begun(clock) and self.mode in ("both", "project") else pull.hub
        for column, of_hub, of_partner in zip(self.partners, hub, pull.partners, strict=True):
            for name, gradient in ((self.hub, of_hub), (column, of_partner)):
                terms[column] = terms[column] + _towards(embeddings[name], kept[:, None] * gradient)
        return terms

    def numbers(self) -> dict[str, float]:
        """Return the share of the last batch that learned; the curriculum left out the rest."""
        return {"kept": self._share}

    def pull(self, embeddings: Embeddings) -> _Pull:
        """Return both losses of embeddings, by column and not yet normalised, and their gradients there."""
        with torch.enable_grad():
            leaves = {c: upcast(embeddings[c]).detach().requires_grad_() for c in (self.hub, *self.partners)}
            pull = _Pull([], [], [], [])
            for column, weight in zip(self.partners, (1.0, self.weight), strict=True):
                pair = leaves[self.hub], leaves[column]
                loss = weight * self.objectives[column](*(F.normalize(leaf, dim=-1) for leaf in pair))
                wanted = (*pair, self._temperature(column))
                gradients = torch.autograd.grad(loss, wanted)
                for kept, one in zip(pull, (loss.detach(), *gradients), strict=True):
                    kept.append(one)
        return pull

    def learning_mask(self, cosines: Float[Tensor, " B"], clock: StepInfo) -> Bool[Tensor, " B"]:
        """Return which examples learn at a step, given how well their gradients agree."""
        if self.mode in ("project", "none") or not self._begun(clock):
            return torch.ones_like(cosines, dtype=torch.bool)
        mask = cosines > self.gamma(clock)
        return mask[torch.randperm(len(mask)).to(mask.device)] if self.mode == "random" else mask

    def gamma(self, clock: StepInfo) -> float:
        """Return γ of a step."""
        done = max(clock.progress - self.plain, 0.0) / (1 - self.plain)
        return self.threshold + (self.last - self.threshold) * done

    def _temperature(self, column: str) -> nn.Parameter:
        objective = self.objectives[column]
        assert isinstance(objective, InfoNCELoss)
        assert objective.temperature.parameter is not None
        return objective.temperature.parameter

    def _begun(self, clock: StepInfo) -> bool:
        return clock.progress >= self.plain


def _towards(x: Tensor, gradient: Tensor) -> Float[Tensor, ""]:
    """Return 0, with a gradient of its own in ``x``."""
    along = (x * gradient).sum()
    return along - along.detach()


def harmonised(
    a: Float[Tensor, "B d"], b: Float[Tensor, "B d"]
) -> tuple[Float[Tensor, "B d"], Float[Tensor, "B d"]]:
    """Return gradients without the part of each that goes against the other, row by row; unchanged where they agree.

    >>> one, other = harmonised(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 1.0]]))
    >>> one.tolist(), other.tolist()
    ([[0.5, 0.5]], [[0.0, 1.0]])
    """
    dot = (a * b).sum(1, keepdim=True)
    squares = [g.square().sum(1, keepdim=True) for g in (a, b)]
    conflict = (dot < 0) & (squares[0] > _NOTHING**2) & (squares[1] > _NOTHING**2)
    along = [torch.where(conflict, dot / torch.where(conflict, s, 1.0), 0.0) for s in squares]
    return a - along[1] * b, b - along[0] * a
