"""MultiModN: a state that each column updates in turn, read by one decoder after every step."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import BelowOne, Natural, NonNegative
from ..networks.base import Towers
from ..networks.heads import mlp
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, Target
from .base import Ranges
from .classifying import Classifying
from .needs import Needs


class MultiModN(Classifying):
    """A state of one example, updated by each column that it has, decoded at the start and after every column.

        u_m = relu(U_m f_m(x_m));   s_m = W_m [u_m ; s_{m−1}] + b_m,   s_m = s_{m−1} where column m is missing
        L = 1/(M + 1) Σ_{m=0..M} CE(d(s_m), y) + 0.01 λ/M Σ_{m=1..M} mean((s_m − s_{m−1})²)

    s_0 is learned and the same for all; f_m are the towers, d is one perceptron. The scores of d go into the
    cross-entropy as they are. A column that is missing leaves the state as it is, so that nothing about its absence
    gets into it, and its step has no loss: the sum runs over the steps of the columns that an example has, the
    denominators count all. Columns come in the order in which they are named.

    Args:
        towers: by column, any number of them.
        recipe: unused: no head is shared.
        target: the label that is learned.
        state: the size of s.
        hidden: the size of u and of the decoder's two hidden layers.
        dropout: of u, in training.
        change: λ.

    Raises:
        ValueError: without a label.

    Source: Swamy et al., "MultiModN: Multimodal, Multi-Task, Interpretable Modular Networks" (2023), arXiv 2309.14118.
    The release skips a column for the whole batch as soon as one example lacks it; here each example skips its own.
    Its hidden 0.01 before λ is kept; its decoder's sigmoid before the cross-entropy is not.
    """

    family = "fusion"
    papers = ("multimodn",)
    needs: ClassVar[Needs] = Needs(1, None)
    incomplete: ClassVar[Literal["drop", "use"]] = "use"
    tunable: ClassVar[Ranges] = {"change": (0.0, 10.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        state: Natural = 50,
        hidden: Natural = 32,
        dropout: BelowOne = 0.2,
        change: NonNegative = 0.0,
    ) -> None:
        super().__init__(towers, target)
        classes = self.required_target().classes
        self.start = nn.Parameter(torch.zeros(state))
        self.hidden = nn.ModuleDict({c: nn.Linear(tower.width, hidden) for c, tower in towers.items()})
        self.updates = nn.ModuleDict({c: nn.Linear(hidden + state, state) for c in towers})
        self.decoder = mlp(state, hidden, len(classes), norm=False)
        self.dropped, self.change, self.draws = nn.Dropout(dropout), change, dropout > 0

    @property
    def shares_space(self) -> bool:
        return False

    def project(self, column: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        return F.relu(self.hidden[column](features))

    def states(self, z: Embeddings, batch: Batch) -> list[Float[Tensor, "B S"]]:
        """Return the state of every example before the first column and after each."""
        states = [self.start.expand(len(batch), -1)]
        for column in self.columns:
            u = self.dropped(self.project(column, z[column], "global"))
            updated = self.updates[column](torch.cat([u, states[-1].to(u)], 1))
            states.append(torch.where(batch.has(column)[:, None], updated, states[-1].to(u)))
        return states

    def logits(self, z: Embeddings, batch: Batch) -> Float[Tensor, "B classes"]:
        return self.decoder(self.states(z, batch)[-1])

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        states = self.states(z, batch)
        classes, ranks = self.classes(batch), Ranks.present()
        known = (classes >= 0).to(self.start.dtype)
        terms = []
        for index, state in enumerate(states):
            # The mean is over the examples of all ranks with a class, those that skip the step too.
            of_examples = F.cross_entropy(self.decoder(state), classes.clamp_min(0), reduction="none")
            if index:
                of_examples = of_examples * batch.has(tuple(self.columns)[index - 1])
            terms.append(moments.mean(of_examples, known, ranks=ranks))
        losses = {"multimodn": torch.stack(terms).mean()}
        if self.change:
            moved = [(after - before).square().mean(1) for before, after in pairwise(states)]
            mean = moments.mean(torch.stack(moved, 1).mean(1), ranks=ranks)
            losses["change"] = 0.01 * self.change * mean
        return losses
