"""DITO: the pyramid and the head of a detector learn from captions, with the whole picture as the only box."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ..forms import Count, Positive, Share
from ..losses import InfoNCELoss
from ..networks.base import Towers
from ..networks.heads import Linear
from ..networks.regions import RegionHead, pyramid_levels
from ..networks.towers.windowed import WindowedTransformer
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod, paired


class Dito(TowerMethod):
    """CLIP whose picture goes through the pyramid and the head of a detector.

        v(box) = max over levels l of h(P_l(f(picture)), box),   elementwise
        x = nz(v(whole picture)),   y = nz(W f_2(caption)),   L = InfoNCE(x, y),   nz(u) = u / ‖u‖

    f gives the map of patches, P_l are the levels of `counterpoint.networks.regions.Pyramid`, and h is
    `counterpoint.networks.regions.RegionHead`. `embed_regions` gives v of any box, which training never shows.
    Pictures are embedded as whole boxes, and patches as the boxes of their cells.

    It is meant to go on from a run of ``clip``: ``dito,from=RUN``. What the run has learned, both towers and the head
    of texts, then moves at a lower rate than the pyramid and its head, so that names are kept that captions lack.

    Args:
        towers: the towers, by column.
        recipe: gives the width of the embedding.
        temperature: where τ starts; it is kept in [0.01, 1].
        channels: of the pyramid.
        backbone: factor of the learning rate of the towers and of the head of texts; ``tune=frozen`` for towers that do
            not move.
        shifted: whether the tower runs a second time with shifted windows; see
            `counterpoint.networks.towers.windowed.WindowedTransformer`.

    Raises:
        LookupError: for a tower without features of patches.
        ValueError: for ``shifted`` with a tower without windows.

    Source: Kim et al., "Region-centric Image-Language Pretraining for Open-Vocabulary Detection" (2023), arXiv
    2310.00161. The released code has no pre-training: the rate of the towers, the sizes of the head, the maximum over
    levels and the whole picture as the only box are not confirmed by it.
    """

    family = "two towers"
    papers = ("dito",)
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        temperature: Positive = 0.07,
        channels: Count = 32,
        backbone: Share = 0.1,
        shifted: bool = False,
    ) -> None:
        super().__init__(towers)
        self.image, self.text = towers
        self.views = paired(towers)
        tower, self.embedding = self.image_tower, recipe.widths.embedding
        if shifted:
            if not isinstance(tower, WindowedTransformer):
                raise ValueError(
                    f"shifted=true shifts the windows of a tower, and {tower.name!r} has none; take image=vit-windows"
                )
            tower.shifted = True
        self.shifted = shifted
        self.levels = pyramid_levels(tower, channels)
        self.region_head = RegionHead(channels, self.embedding)
        self.projections = nn.ModuleDict({self.text: Linear(towers[self.text].width, self.embedding)})
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))
        self.rates = {"towers": backbone, "projections": backbone}

    @property
    def width(self) -> int:
        return self.embedding

    def features(self, column: str, inputs: Tensor) -> Tensor:
        """Return the features of texts, and the vectors of pictures as whole boxes."""
        if column != self.image:
            return super().features(column, inputs)
        maps = self.image_tower.patches(inputs)
        return self.region_features(maps, maps.new_tensor([0, 0, 1, 1]).expand(len(maps), 1, 4))[:, 0]

    def region_features(
        self, maps: Float[Tensor, "n w h v"], boxes: Float[Tensor, "n k 4"]
    ) -> Float[Tensor, "n k d"]:
        """Return the vectors of boxes, the largest over the levels of the pyramid; NaN for a box of NaN."""
        of_levels = torch.stack([self.region_head(level(maps), boxes) for level in self.levels])
        return of_levels.amax(0).masked_fill(boxes.isnan().any(2, keepdim=True), torch.nan)

    @torch.no_grad()
    def embed_patches(
        self, pictures: UInt8[Tensor, "n 3 H W"], head: str = "default"
    ) -> Float[Tensor, "n d h w"]:
        maps = self.patch_features(pictures)
        rows, columns = maps.shape[2:]
        y, x = torch.meshgrid(torch.arange(rows) / rows, torch.arange(columns) / columns, indexing="ij")
        cells = torch.stack([x, y, x + 1 / columns, y + 1 / rows], -1).flatten(0, 1).to(maps)
        z = self._embed_features(
            self.region_features(maps, cells.expand(len(maps), -1, -1)).flatten(0, 1), head
        )
        return z.view(len(maps), rows, columns, -1).permute(0, 3, 1, 2)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x, y = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns)
        return {"dito": self.objective(x, y)}

    def passes(self) -> dict[str, float]:
        passes = super().passes()
        return {**passes, "image": passes["image"] * (1 + self.shifted)}
