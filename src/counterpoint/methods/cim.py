"""Correlational image modelling: where in a picture does a small, rotated and recoloured crop of it come from?"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..forms import Count, Fraction, Share
from ..frames import Frames, to_picture, to_view
from ..networks import MomentumCopy
from ..networks.base import ImageTower, Towers
from ..networks.decoder import sine_cosine_positions
from ..networks.fusion.cross_attention import CrossAttentionBlock
from ..networks.heads import Linear
from ..networks.state.momentum import PREFIX
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, View
from .needs import Needs
from .tower_method import TowerMethod


class CIM(TowerMethod):
    """Maps of where exemplars lie in their context, found by one cross-attention.

        x = W f_m(context) + positions,   t = W f(exemplar),   y = norm(block(x; t)),   logits = enlarge(V y)
        L = Σ over exemplars of the mean over cells of CE(logits, cell lies inside the exemplar)

    The context is a large crop of a picture; exemplars are small crops, rotated, mirrored and recoloured. The momentum
    copy f_m sees the context, without gradient; the tower f sees the exemplars, which give keys and values, and the
    context asks. A cell of the enlarged map belongs to the exemplar if its centre lies inside the exemplar's frame, so
    that mirroring an exemplar changes no map. The decoder is left off afterwards: a user gets the tower's own features.

    Args:
        towers: the image tower, by its column.
        recipe: unused.
        exemplars: of a picture.
        size: of exemplars, as a share of the tower's side.
        enlarge: rows and columns of the map that a cell of the tower's grid becomes.
        changed: whether exemplars are rotated, mirrored and recoloured.
        decoder_width: of the decoder, which has four attention heads.
        momentum: of the copy at the start, from where it goes to 1 along a cosine.

    Raises:
        ValueError: for a tower that takes no pictures of the exemplars' size.
        LookupError: for a tower without features of patches.

    Source: Li et al., "Correlational Image Modeling for Self-Supervised Visual Pre-Training" (2023), arXiv 2303.12670,
    by its definitions. There exemplars are cut from the context, the map is enlarged to pixels with corners aligned,
    and the patch projection stays at its random start. Here exemplars are of the picture, and may lie partly outside
    the context; the map is enlarged by its centres; the tower is trained as a whole. Corners of a rotated exemplar that
    lie beyond its crop are black.
    """

    family = "images"
    papers = ("correlational-image-modeling",)
    needs: ClassVar[Needs] = Needs(1, 1, modalities=("image",))

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        exemplars: Count = 6,
        size: Share = 0.5,
        enlarge: Count = 4,
        changed: bool = True,
        decoder_width: Count = 64,
        momentum: Fraction = 0.99,
    ) -> None:
        super().__init__(towers)
        ((self.column, _),) = towers.items()
        tower = self.image_tower
        tower.check_side(tower.input.scaled(size).size)
        look = "exemplar" if changed else "exemplar_plain"
        self.views = {self.column: View("image", "search", self.column, framed=True)} | {
            f"{self.column}.{n}": View("image", look, self.column, size=size, framed=True)
            for n in range(1, exemplars + 1)
        }
        with torch.no_grad():
            rows, columns = tower.patches(torch.zeros(1, 3, tower.size, tower.size)).shape[2:]
        self.grid, self.enlarge = (rows, columns), enlarge
        self.momentum = MomentumCopy(tower, momentum, "cosine")
        self.embed_states = Linear(tower.width, decoder_width, bias=True)
        self.register_buffer("positions", sine_cosine_positions(decoder_width, self.grid), persistent=False)
        self.block = CrossAttentionBlock(decoder_width)
        self.norm = nn.LayerNorm(decoder_width)
        self.classify = Linear(decoder_width, 2, bias=True)
        self._overlap = torch.zeros(())

    @property
    def exemplars(self) -> tuple[str, ...]:
        """The names of the views that are exemplars."""
        return tuple(self.views)[1:]

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        copy = self.momentum.module
        assert isinstance(copy, ImageTower)
        return {f"{PREFIX}{self.column}": copy.patches(batch[self.column]).flatten(2).mT}

    def encode(self, batch: Batch) -> Embeddings:
        together = torch.cat([batch[name] for name in self.exemplars])
        states = self.image_tower.patches(together).flatten(2).mT
        return dict(zip(self.exemplars, torch.split(states, len(batch)), strict=True))

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        context, losses, overlaps = z[f"{PREFIX}{self.column}"], [], []
        for name in self.exemplars:
            logits, truth = self.correlate(context, z[name]), self.map_of(batch, name)
            terms = F.cross_entropy(upcast(logits), truth.long(), reduction="none")
            losses.append(moments.mean(terms.mean((1, 2)), ranks=Ranks.present()))
            overlaps.append(overlap(logits.detach().argmax(1).bool(), truth))
        self._overlap = torch.cat(overlaps).nanmean()
        return {"cim": torch.stack(losses).sum()}

    def correlate(
        self, context: Float[Tensor, "B n W"], exemplar: Float[Tensor, "B m W"]
    ) -> Float[Tensor, "B 2 rows columns"]:
        """Return the logits of outside and inside for every cell of the enlarged map."""
        x = self.embed_states(context) + self.positions
        y = self.norm(self.block(x, self.embed_states(exemplar)))
        maps = self.classify(y).mT.unflatten(2, self.grid)
        return F.interpolate(maps, scale_factor=self.enlarge, mode="bilinear")

    def map_of(self, batch: Batch, name: str) -> Bool[Tensor, "B H W"]:
        """Return which cells of the enlarged map of the context lie inside an exemplar."""
        rows, columns = (self.enlarge * length for length in self.grid)
        return inside(batch.frames[self.column], batch.frames[name], rows, columns)

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        self.momentum.update(clock.progress)

    def numbers(self) -> dict[str, float]:
        # A map of background alone has a low loss already, and no overlap.
        return {"map_iou": float(self._overlap)}


def inside(context: Frames, exemplar: Frames, rows: int, columns: int) -> Bool[Tensor, "B rows columns"]:
    """Return which cells of a grid over the context have their centre inside the exemplar.

    >>> from counterpoint.frames import of_boxes, whole
    >>> inside(whole(1), of_boxes(torch.tensor([[0.0, 0.0, 0.5, 1.0]])), 1, 4).tolist()
    [[[True, True, False, False]]]
    """
    y = (torch.arange(rows, device=context.device) + 0.5) / rows
    x = (torch.arange(columns, device=context.device) + 0.5) / columns
    centres = torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)], -1).to(context)
    return to_view(exemplar, to_picture(context, centres.expand(len(context), -1, -1, -1)))[1]


def overlap(predicted: Bool[Tensor, "B H W"], truth: Bool[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """Return the intersection over union of maps; NaN where the exemplar lies outside the context."""
    both, either = (cells.flatten(1).sum(1) for cells in (predicted & truth, predicted | truth))
    return torch.where(truth.flatten(1).any(1), both / either.clamp_min(1), torch.nan)
