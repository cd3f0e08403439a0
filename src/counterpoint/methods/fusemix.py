"""FuseMix: small adapters on two frozen towers, trained on mixtures of pairs."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import BelowOne, Natural, Positive
from ..losses import InfoNCELoss
from ..networks import tune
from ..networks.base import Towers
from ..networks.heads import ResidualMLP
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, View
from .base import Ranges
from .tower_method import TowerMethod, distinct

Mixing = Literal["shared", "independent", "none"]
"""Choices of λ: one for both modalities, one for each, or the pairs as they are."""


def adapter(width: int, out: int, layers: int, dropout: float) -> nn.Sequential:
    """Build residual blocks, a layer norm and a linear layer.

    >>> adapter(8, 4, layers=2, dropout=0.6)(torch.randn(5, 8)).shape
    torch.Size([5, 4])
    """
    blocks = (ResidualMLP(width, dropout) for _ in range(layers))
    return nn.Sequential(*blocks, nn.LayerNorm(width), nn.Linear(width, out))


class FuseMix(TowerMethod):
    """Symmetric InfoNCE of adapted mixtures: the second half of the batch is mixed into the first.

        a~ = λ a_1 + (1 − λ) a_2,   b~ = λ b_1 + (1 − λ) b_2,   λ ~ Beta(α, α)
        S = nz(A_I(a~)) nz(A_T(b~))ᵀ / τ,   L = ( CE(S, i) + CE(Sᵀ, i) ) / 2

    a and b are the features of frozen, pretrained towers, as they are; one λ a batch (and rank) is drawn from
    torch's generator, the same for pictures and texts, so that a mixture of two pairs is a pair. B examples
    give B/2 pairs: fair baselines see batches of half the size. Of an odd batch the last example is left out.
    τ itself is learned, from 0.07 within [0.001, 0.5]; having no axes it is not decayed.

    Args:
        towers: the towers, by column.
        recipe: gives the width of the embedding.
        alpha: α > 0; 1 draws λ uniformly.
        mixing: ``"shared"`` as above; ``"independent"`` draws a λ for each modality and ``"none"`` takes all B
            pairs unmixed, which are the baselines.
        layers: of each adapter.
        dropout: inside the adapters.
        temperature: where τ starts.

    Raises:
        ValueError: for a tower that is not pretrained, options out of range, or a batch of one.

    Source: Vouitsis et al., "Data-Efficient Multimodal Fusion on a Single GPU" (2024), arXiv 2312.10144.
    """

    family = "fusion"
    papers = ("fusemix",)
    draws = True
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "alpha": (0.25, 4.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        alpha: Positive = 1.0,
        mixing: Mixing = "shared",
        layers: Natural = 4,
        dropout: BelowOne = 0.6,
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers)
        for column, tower in towers.items():
            if not tower.pretrained:
                raise ValueError(
                    f"fusemix wants the {column} tower pretrained, but it is {tower.name!r}; name weights as "
                    f"{tower.modality}=NAME@WEIGHTS"
                )
            tune(tower, "frozen")
        # Plain views: what varies in training is the mixture, and features that never change can be kept.
        self.views = {column: View(tower.modality, column=column) for column, tower in towers.items()}
        width = recipe.widths.embedding
        self.adapters = nn.ModuleDict(
            {name: adapter(t.width, width, layers, dropout) for name, t in distinct(towers).items()}
        )
        self.objective = InfoNCELoss(Temperature(temperature, form="direct", bounds=(0.001, 0.5)))
        self.alpha, self.mixing = alpha, mixing

    def project(self, column: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        return self.adapters[self.columns[column]](features)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        one, other = self.columns
        a, b = self.mix(z[one], z[other])
        x = F.normalize(self.project(one, a, "global"), dim=-1)
        y = F.normalize(self.project(other, b, "global"), dim=-1)
        return {"fusemix": self.objective(x, y)}

    def mix(
        self, a: Float[Tensor, "B p"], b: Float[Tensor, "B q"]
    ) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n q"]]:
        """Return the latents that are compared: n = B/2 mixtures of each modality, or all where nothing is mixed."""
        if self.mixing == "none":
            return a, b
        half = len(a) // 2
        if half == 0:
            raise ValueError("fusemix mixes the halves of a batch, and got a batch of one; make it larger")
        beta = torch.distributions.Beta(self.alpha, self.alpha)
        share = float(beta.sample())
        shares = (share, share if self.mixing == "shared" else float(beta.sample()))
        # Halves and no permutation: nobody is mixed with itself, and no pair of examples meets twice.
        mixed_a, mixed_b = (
            s * latents[:half] + (1 - s) * latents[half : 2 * half]
            for s, latents in zip(shares, (a, b), strict=True)
        )
        return mixed_a, mixed_b
