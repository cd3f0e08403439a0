"""LaT: two spaces, a translator from each into the other, and the way there and back."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import NonNegative, Positive
from ..losses import InfoNCELoss
from ..networks.base import Towers
from ..networks.heads import Linear, ResidualMLP
from ..pairwise.inputs import squared_distance
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .tower_method import TowerMethod, paired

Cycle = Literal["contrast", "distance"]
"""Ways to compare what came back with what was sent: among all others of the batch, or by itself."""

_STD = 0.02
"""Standard deviation of a translator's last weights at the start: near the identity, yet no layer without gradient."""


class LaT(TowerMethod):
    """Each column keeps the space of its tower, and two translators lead from one space into the other.

        t' = G(v),  v' = H(t),    v'' = H(t'),  t'' = G(v')
        L  = N(t', t) + N(v', v) + λ ( N(v'', v) + N(t'', t) )

    v and t are the towers' own features, N is symmetric InfoNCE of cosines at one fixed τ. Translators take and give
    features as they are, not normalised, and share nothing. No term compares v with t itself.

    The embeddings of the first column are ``[nz(v); nz(G(v))] / √2``, of the second ``[nz(H(t)); nz(t)] / √2``: their
    inner product is the mean of the cosines in both spaces, so that whatever searches by inner products searches this.

    Where both towers are equally wide a translator begins near the identity, and the method near one joint space;
    `distance` says how far it went from there. With λ = 0 there is no cycle, only two losses of translation.

    Losses and weights are from memory, and no code was found: the paper's abstract was read. That translators are a
    residual perceptron (after a linear layer between different widths), that N serves the cycle as well, and λ = 1 are
    this package's choices.

    Args:
        towers: the towers, by column.
        recipe: unused: the spaces are those of the towers.
        weight: λ.
        cycle: ``"contrast"`` as above; ``"distance"``: ‖nz(v'') − nz(v)‖² and the same of t, the mean over examples.
        detached: whether the cycle takes v and t as given, so that it trains what leads to v'' and t'' alone.
        temperature: τ of every N.

    Source: Bai et al., "LaT: Latent Translation with Cycle-Consistency for Video-Text Retrieval" (2022), arXiv
    2207.04858.
    """

    family = "two towers"
    papers = ("lat",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "weight": (0.1, 4.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        weight: NonNegative = 1.0,
        cycle: Cycle = "contrast",
        detached: bool = False,
        temperature: Positive = 0.05,
    ) -> None:
        super().__init__(towers)
        self.views = paired(towers)
        widths = [tower.width for tower in towers.values()]
        # By column and not by tower: columns that share a tower still are translated there and back.
        self.translators = nn.ModuleDict(
            {column: _translator(*way) for column, way in zip(towers, (widths, widths[::-1]), strict=True)}
        )
        self.objective = InfoNCELoss(temperature)
        self.weight, self.cycle, self.detached = weight, cycle, detached

    def project(self, column: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        original, translated = (
            F.normalize(x, dim=-1) for x in (features, self.translators[column](features))
        )
        first = column == next(iter(self.columns))
        return torch.cat([original, translated] if first else [translated, original], dim=-1)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        one, other = self.columns
        v, t = z[one], z[other]
        there, here = self.translators[one](v), self.translators[other](t)
        terms = {"translation": self._contrast(there, t) + self._contrast(here, v)}
        if self.weight:
            compare = self._contrast if self.cycle == "contrast" else self._apart
            back = [(self.translators[other](there), v), (self.translators[one](here), t)]
            cycle = [compare(came, sent.detach() if self.detached else sent) for came, sent in back]
            terms["cycle"] = self.weight * (cycle[0] + cycle[1])
        return terms

    def distance(self, column: str, features: Float[Tensor, "n w"]) -> Float[Tensor, ""]:
        """Return how far a column's translator moves features: the mean of ‖nz(G(u)) − nz(u)‖, 0 for the identity.

        Raises:
            ValueError: for spaces of different widths, between which there is no identity.
        """
        translated = self.translators[column](features)
        if translated.shape != features.shape:
            raise ValueError(
                f"the spaces of {' and '.join(self.columns)} have different widths, so that no translator is the "
                "identity"
            )
        return (F.normalize(translated, dim=-1) - F.normalize(features, dim=-1)).norm(dim=-1).mean()

    def _contrast(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        return self.objective(F.normalize(x, dim=-1), F.normalize(y, dim=-1))

    def _apart(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        return self.objective.mean(squared_distance(F.normalize(x, dim=-1), F.normalize(y, dim=-1)))


def _translator(width: int, out: int) -> nn.Module:
    block = ResidualMLP(out, std=_STD)
    return block if width == out else nn.Sequential(Linear(width, out), block)
