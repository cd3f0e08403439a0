"""SCAV: what two columns say at each time is compared in time, and never as the mean over time."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Count, Natural, Positive
from ..losses import SCAVLoss
from ..losses._distances import resampled
from ..losses.scav import Distance
from ..networks.base import Towers
from ..pairwise import Temperature
from ..pairwise.inputs import upcast
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .dual_encoder import linear_heads
from .tower_method import TowerMethod, paired


class SCAV(TowerMethod):
    """Each example is a sequence; two are the more alike the nearer their sequences lie.

        x_t = nz(P_1(state t of f_1(x))),   y_t = nz(P_2(state t of f_2(y))),   L = SCAV(x, y)

    Neither tower is pooled; one without states, as of pictures, gives a sequence of one vector. States are resampled
    linearly to one number of steps, the ends on the ends. In use an embedding holds the vectors of all steps side by
    side, of unit norm as a whole, and `similarity` is minus the distance that was trained. With ``shortlist`` it
    compares means over time first, as an index of vectors does, and only the nearest of these as sequences; all others
    come after them.

    Args:
        towers: the towers, by column.
        recipe: gives the width of a step's vector.
        distance: of sequences; see `counterpoint.losses.SCAVLoss`.
        steps: of a sequence.
        shortlist: how many are compared as sequences in use; all where it is 0.
        temperature: where τ starts; learned within [0.01, 1].

    Raises:
        LookupError: at the first batch, for a tower of sounds, clips or series that pools its states itself.

    Source: "Sequential Contrastive Audio-Visual Learning" (2024), arXiv 2407.05782, with trained towers in place of
    frozen CLIP and BEATs; what is a reading of it is said at `counterpoint.losses.SCAVLoss`.
    """

    family = "two towers"
    papers = ("scav",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        distance: Distance = "euclidean",
        steps: Count = 8,
        shortlist: Natural = 0,
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers)
        self.steps, self.shortlist, self.step_width = steps, shortlist, recipe.widths.embedding
        self.views = paired(towers)
        self.projections = nn.ModuleDict(linear_heads(towers, self.step_width))
        self.objective = SCAVLoss(distance, temperature=Temperature(temperature, bounds=(0.01, 1.0)))

    @property
    def width(self) -> int:
        """The numbers of an embedding, all steps side by side."""
        return self.steps * self.step_width

    def features(self, column: str, inputs: Tensor) -> Float[Tensor, "n steps w"]:
        """Return states at so many steps; a head without bias makes of them what it makes of the states between."""
        states = self.tower(column).states(inputs)
        lengths = states.ne(0).any(-1).sum(1).clamp_min(1)
        return resampled(states, lengths, self.steps)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x, y = (self._steps(column, z[column]) for column in self.columns)
        return {"scav": self.objective(x, y)}

    def _steps(self, column: str, features: Float[Tensor, "n steps w"]) -> Float[Tensor, "n steps d"]:
        return F.normalize(upcast(self.projections[self.columns[column]](features)), dim=-1)

    def project(self, column: str, features: Float[Tensor, "n steps w"], head: str) -> Float[Tensor, "n D"]:
        """Return all steps side by side."""
        return self._steps(column, features).flatten(1)

    def similarity(self, a: Float[Tensor, "n D"], b: Float[Tensor, "m D"]) -> Float[Tensor, "n m"]:
        """Return minus the distance of sequences; with a shortlist, of each of ``a`` from the nearest by means."""
        # Embeddings have unit norm as a whole; here each step gets its own again.
        x, y = (F.normalize(z.view(len(z), self.steps, -1), dim=-1) for z in (a, b))
        if not 0 < self.shortlist < len(y):
            return -self.objective.distances(x, y)
        pooled = F.normalize(x.mean(1), dim=-1) @ F.normalize(y.mean(1), dim=-1).T
        near = pooled.topk(self.shortlist, 1).indices
        each = x.repeat_interleave(self.shortlist, 0)
        lengths = near.new_full((near.numel(),), self.steps)
        with torch.no_grad():
            far = self.objective.matched(each, y[near.flatten()], lengths, lengths).view(near.shape)
        # Cosines are at most 1: whatever is not on the list lies below all that is.
        behind = pooled - 2 - far.amax(1, keepdim=True)
        return behind.scatter(1, near, -far)
