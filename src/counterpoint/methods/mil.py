"""MIL: a picture is a bag of places, of which only some are what a caption speaks of."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Count, Positive
from ..losses import MILLoss
from ..losses.mil import Pooling
from ..networks import NonLocal
from ..networks.base import Towers
from ..networks.towers.parts.regions import grid
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, View
from .base import Ranges
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod


class MIL(TowerMethod):
    """Pictures find their captions by the similarities of their places, pooled.

        x_n = nz(P_I(place n of f_I(image))),   y_m = nz(P_T(f_T(caption m)))
        L = MIL(x, y),   with ``non_local`` L = MIL(x, y) + MIL(g, y),   g = nz(mean_n NL(x)_n)

    The image tower gives a map of places, which are not pooled before they are compared. A picture and a
    caption are scored by the pooled similarity in use as well: a picture's embedding holds the vectors of all
    places (and g) side by side, a caption's its one vector as often, each of unit norm as a whole, and
    `similarity` pools over them. Their plain product is the mean pooling. Single places (`embed_patches`)
    are embedded by x.

    With several ``sentences`` a picture's are all positives: further captions drawn for the same picture.

    Args:
        towers: the towers, by column; the image tower must have features of places.
        recipe: gives the width of the embedding.
        pooling, gamma: see the loss.
        temperature: where τ starts; learned within [0.01, 1].
        sentences: M, captions of each picture and step.
        non_local: whether a global score of places that have seen each other is added.

    Raises:
        LookupError: for an image tower without features of places.
        ValueError: for no sentence, or options that the loss does not take.

    Source: Wang et al., "Using Multiple Instance Learning to Build Multimodal Representations" (2022), arXiv
    2212.05561.
    """

    family = "local features"
    papers = ("mil-multimodal",)
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "gamma": (1.0, 20.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        pooling: Pooling = "lse",
        gamma: Positive = 5.0,
        temperature: Positive = 0.07,
        sentences: Count = 1,
        non_local: bool = False,
    ) -> None:
        super().__init__(towers)
        width = recipe.widths.embedding
        self.picture, self.text = towers
        self.captions = [self.text, *(f"{self.text}.{m}" for m in range(1, sentences))]
        self.views = {
            self.picture: View("image", "weak", self.picture),
            **{name: View("text", column=self.text) for name in self.captions},
        }
        rows, columns = grid(self.image_tower)
        self.places = rows * columns
        self.projections = nn.ModuleDict(linear_heads(towers, width))
        self.non_local = NonLocal(width) if non_local else None
        self.objective = MILLoss(
            pooling, gamma=gamma, temperature=Temperature(temperature, bounds=(0.01, 1.0))
        )

    def features(self, column: str, inputs: Tensor) -> Tensor:
        if column == self.text:
            return super().features(column, inputs)
        return self.image_tower.patches(inputs).flatten(2).mT

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x = self._instances(self.picture, z[self.picture])
        y = torch.stack([self._instances(self.text, z[name]) for name in self.captions], 1)
        losses = {"mil": self.objective(x, y)}
        if self.non_local is not None:
            losses["mil_global"] = self.objective(self._together(x), y)
        return losses

    def _instances(self, column: str, features: Float[Tensor, "*n w"]) -> Float[Tensor, "*n d"]:
        return F.normalize(self.projections[column](features), dim=-1)

    def _together(self, x: Float[Tensor, "n N d"]) -> Float[Tensor, "n 1 d"]:
        """Return the embedding g, as a bag of one."""
        assert self.non_local is not None
        return F.normalize(self.non_local(x).mean(1, keepdim=True), dim=-1)

    def project(
        self, column: str, features: Float[Tensor, "n w"] | Float[Tensor, "n N w"], head: str
    ) -> Float[Tensor, "n D"]:
        """Return the places of pictures, and g where there is one, side by side; of single vectors copies."""
        x = self._instances(column, features)
        copies = self.places + (self.non_local is not None)
        if x.ndim == 2:
            x = x[:, None].expand(-1, copies, -1)
        elif self.non_local is not None:
            x = torch.cat([x, self._together(x)], 1)
        return x.flatten(1)

    def similarity(self, a: Float[Tensor, "n D"], b: Float[Tensor, "m D"]) -> Float[Tensor, "n m"]:
        """Return the pooled similarity of pictures and captions, plus that of g where there is one."""
        copies = self.places + (self.non_local is not None)
        # Unit norm of the whole left each of the vectors a norm of copies^−½.
        a, b = (z.reshape(len(z), copies, z.shape[1] // copies) * copies**0.5 for z in (a, b))
        h = torch.einsum("rnd,cnd->rcn", a, b)[..., None]
        scores = self._pooled(h[..., : self.places, :])
        return scores + self._pooled(h[..., self.places :, :]) if copies > self.places else scores

    def _pooled(self, h: Float[Tensor, "n m N 1"]) -> Float[Tensor, "n m"]:
        there = h.new_ones(1, 1, h.shape[2], dtype=torch.bool)
        return self.objective.score(h, there, there[..., :1])
