"""FILIP: late interaction of the places of a picture and the words of its caption."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..forms import Positive
from ..losses import FILIPLoss
from ..losses.filip import late
from ..networks.base import Towers
from ..networks.towers.parts.regions import grid
from ..pairwise import Temperature
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod, paired

PANEL = 1 << 24
"""Similarities of tokens held at once in use."""


class FILIP(TowerMethod):
    """Each place looks for the word that suits it best, each word for its place.

        x_n = nz(P_I(place n of f_I(image))),   y_m = nz(P_T(state m of f_T(caption))),   L = FILIP(x, y)

    Neither tower is pooled. In use as well a picture's embedding holds the vectors of all places side by side, a
    caption's those of its words, zeros where it has none, each of unit norm as a whole; `similarity` compares them by
    late interaction, from the side of its first argument. So zero-shot classes and retrieval are scored as trained.

    Args:
        towers: the towers, by column; both must have features of their places and words.
        recipe: gives the width of a token's embedding.
        temperature: where τ starts; learned within [0.01, 1].

    Raises:
        LookupError: for a tower without features of places or words.

    Source: Yao et al., "FILIP: Fine-grained Interactive Language-Image Pre-Training" (2021), arXiv 2111.07783.
    """

    family = "local features"
    papers = ("medical-vl-benchmark",)
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(self, towers: Towers, recipe: Recipe, *, temperature: Positive = 0.07) -> None:
        super().__init__(towers)
        self.picture, self.text = towers
        self.token_width = recipe.widths.embedding
        self.views = paired(towers)
        self.projections = nn.ModuleDict(linear_heads(towers, self.token_width))
        self.objective = FILIPLoss(temperature=Temperature(temperature, bounds=(0.01, 1.0)))
        grid(self.image_tower)  # so that a tower without tokens is refused at once
        with torch.no_grad():
            self.features(self.text, self.text_tower.tokenizer(["a"]))

    @property
    def width(self) -> int:
        """The numbers of a picture's embedding, all places side by side."""
        return math.prod(grid(self.image_tower)) * self.token_width

    def features(self, column: str, inputs: Tensor) -> Tensor:
        """Return places ``(n, N, w)``, or states of words with zeros for padding ``(n, L, w)``."""
        if column == self.picture:
            return self.image_tower.patches(inputs).flatten(2).mT
        return self.text_tower.states(inputs)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x, y = (self._tokens(column, z[column]) for column in self.columns)
        # A part of a batch is as long as its longest caption, and the parts of all ranks meet.
        longest = max(Ranks.present().counts(y.shape[1], y.device))
        y = F.pad(y, (0, 0, 0, longest - y.shape[1]))
        return {"filip": self.objective(x, y, y_mask=token_mask(y))}

    def _tokens(self, column: str, features: Float[Tensor, "*n w"]) -> Float[Tensor, "*n d"]:
        return F.normalize(
            upcast(self.projections[column](features)), dim=-1
        )  # heads without bias keep zeros

    def project(
        self, column: str, features: Float[Tensor, "n w"] | Float[Tensor, "n N w"], head: str
    ) -> Float[Tensor, "n D"]:
        """Return all tokens side by side; captions as long as the tokenizer's context."""
        tokens = self._tokens(column, features)
        if column == self.text:
            # A batch is only as long as its longest caption, and embeddings of several batches are compared.
            tokens = F.pad(tokens, (0, 0, 0, self.text_tower.tokenizer.context - tokens.shape[1]))
        return tokens.flatten(1)

    def similarity(self, a: Float[Tensor, "n D"], b: Float[Tensor, "m E"]) -> Float[Tensor, "n m"]:
        """Return the mean over the tokens of each of ``a`` of the best similarity with a token of each of ``b``."""
        # Embeddings have unit norm as a whole; here each token gets its own again.
        x, y = (F.normalize(z.view(len(z), -1, self.token_width), dim=-1) for z in (a, b))
        size = max(1, PANEL // max(1, x.shape[1] * y.shape[0] * y.shape[1]))
        parts = [
            late(torch.einsum("rnd,cmd->rcnm", part, y), token_mask(part)[:, None], token_mask(y)[None])
            for part in torch.split(x, size)
        ]
        return torch.cat(parts)


def token_mask(tokens: Float[Tensor, "n N d"]) -> Bool[Tensor, "n N"]:
    """Return which tokens are no padding."""
    return tokens.ne(0).any(-1)
