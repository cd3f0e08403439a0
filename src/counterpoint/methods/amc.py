"""AMC: what matching rests on is held inside the region that a caption speaks of."""

from __future__ import annotations

from typing import ClassVar, Literal, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..forms import Fraction, NonNegative
from ..modalities import PAIR_PASSES
from ..networks.base import Towers
from ..networks.fusion.joint_encoder import is_word
from ..networks.fusion.relevance import unit_range
from ..networks.towers.maps import MapSquare
from ..networks.towers.parts.pooling import pool
from ..networks.towers.parts.regions import grid
from ..raw import UNKNOWN
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Pairs, StepInfo
from ._matching import LABEL, PATCHES, PICTURE_OF, TEXT_OF, WORDS, MatchingOptions, mean_of_all
from .albef import ALBEF
from .base import Ranges
from .needs import Needs

REGION = "region."
"""Prefix of the pixels that each row's text speaks of, 1 or 0, which bears the name of the maps."""
ANNOTATED, EXPLAINED = "pair.annotated", "pair.explained"
"""Names of pairs: 1 for a picture with its own text and a region, and the map of what the match rests on."""


class AMC(ALBEF):
    """`ALBEF` with a margin loss on the map of what matching rests on, for rows whose region is known.

        M      = relevance of the match logit in a block of the joint encoder, mean over words, from 0 to 1
        L_mean = max(0, mean of M outside − mean of M inside + 0.1)
        L_max  = max(0, max of M outside − max of M inside + 0.5)
        L      = L of `ALBEF` + amc · ((1 − peak) L_mean + peak L_max)

    M is that of `relevance` in the third block of six, resized to the region. It has a gradient, so that the loss needs
    one of second order. Means, maxima and margins are of each picture by itself; in the released code means run over
    the whole batch. The region are the pixels of a class other than the first, which is the background. A region that
    is empty or the whole picture does not count, and neither does a row without one.

    In use `phrase_maps` says where a phrase is.

    Args:
        towers: of pictures, of texts, and of maps, of which the input alone is used.
        recipe: as for `ALBEF`.
        amc: weight of the loss; 0 is `ALBEF`.
        peak: share of L_max.
        explained: with ``attention`` the loss is the cross-entropy between the region and the attention of words in
            that block, in place of both and without a gradient of the match.
        options: of `ALBEF`.

    Raises:
        ValueError: for maps of numbers, for matching=0, and as `ALBEF`.

    Source: Yang et al., "Improving Visual Grounding by Encouraging Consistent Gradient-based Explanations" (2022),
    arXiv 2206.15462.
    """

    family = "fusion"
    papers = ("amc",)
    needs: ClassVar[Needs] = Needs(3, 3, modalities=("image", "text", "map"))
    optional: ClassVar[tuple[str, ...]] = ("map",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        amc: NonNegative = 1.0,
        peak: Fraction = 0.8,
        explained: Literal["gradient", "attention"] = "gradient",
        **options: Unpack[MatchingOptions],
    ) -> None:
        super().__init__(towers, recipe, **options)
        if not self.weights["matching"]:
            raise ValueError("amc explains matching, which matching=0 does not train")
        self.amc, self.peak, self.explained = amc, peak, explained
        _, _, self.region = towers
        given = towers[self.region].input
        assert isinstance(given, MapSquare)
        if not given.classes:
            raise ValueError(f"amc needs a map of classes, and {self.region} is one of numbers")
        self.grid = grid(self.image_tower)

    def encode(self, batch: Batch) -> Embeddings:
        z, maps = super().encode(batch), batch[self.region]
        region = (maps > 0) & (maps != UNKNOWN)
        return {**z, REGION + self.region: region.to(z[self.picture])}

    def pairs(self, z: Embeddings, batch: Batch) -> Pairs:
        pairs = super().pairs(z, batch)
        region = z[REGION + self.region].flatten(1) > 0
        annotated = batch.has(self.region) & region.any(1) & ~region.all(1)
        own = (pairs[LABEL] == 1) & annotated[pairs[PICTURE_OF]]
        return {**pairs, ANNOTATED: own.long()}

    def fuse(self, z: Embeddings, pairs: Pairs) -> Embeddings:
        fused = super().fuse(z, pairs)
        (rows,) = pairs[ANNOTATED].nonzero(as_tuple=True)
        patches = z[PATCHES + self.picture][pairs[PICTURE_OF][rows]]
        words = z[WORDS + self.text][pairs[TEXT_OF][rows]]
        maps = patches.new_zeros(len(pairs[ANNOTATED]), patches.shape[1])
        if len(rows) and self.amc:
            maps = maps.index_copy(0, rows, self.explanation(words, patches).to(maps))
        return {**fused, EXPLAINED: maps}

    def explanation(
        self, words: Float[Tensor, "n L W"], patches: Float[Tensor, "n P V"]
    ) -> Float[Tensor, "n P"]:
        """Return the map that is held inside the region, with its gradient."""
        if self.explained == "gradient":
            return unit_range(self.relevant_patches(words, patches, create_graph=torch.is_grad_enabled()))
        _, attention = self.joint(words, patches, attention_of=self.block)
        return pool(attention.mean(1), is_word(words), "mean")

    def passes(self) -> dict[str, float]:
        passes = super().passes()
        del passes[self.tower(self.region).modality]  # which passes through no tower
        return {**passes, PAIR_PASSES: passes[PAIR_PASSES] + bool(self.amc)}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = super().losses(z, batch, clock)
        if self.amc:
            own = z[ANNOTATED] == 1
            regions = z[REGION + self.region][z[PICTURE_OF][own]] > 0
            maps = z[EXPLAINED][own].view(-1, *self.grid)
            of_pictures = (
                margins(maps, regions, self.peak)
                if self.explained == "gradient"
                else attention_entropy(maps, regions)
            )
            losses["amc"] = self.amc * mean_of_all(of_pictures)
        return losses


def margins(maps: Float[Tensor, "n h w"], regions: Bool[Tensor, "n H W"], peak: float) -> Float[Tensor, " n"]:
    """Return the loss of each picture: how far its map is from being higher inside its region than outside.

    >>> maps, region = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[True, False]]])
    >>> margins(maps, region, 0.8).tolist(), margins(maps, ~region, 0.8).tolist()
    ([0.0], [1.4200000762939453])
    """
    size = (regions.shape[1], regions.shape[2])
    m = F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0].flatten(1)
    inside = regions.flatten(1).to(m)
    mean_in, mean_out = ((m * it).sum(1) / it.sum(1) for it in (inside, 1 - inside))
    max_in, max_out = ((m * it).amax(1) for it in (inside, 1 - inside))
    return (1 - peak) * F.relu(mean_out - mean_in + 0.1) + peak * F.relu(max_out - max_in + 0.5)


def attention_entropy(maps: Float[Tensor, "n h w"], regions: Bool[Tensor, "n H W"]) -> Float[Tensor, " n"]:
    """Return the cross-entropy of attention to patches, with the share of each patch in the region as its target."""
    covered = F.adaptive_avg_pool2d(regions.to(maps)[:, None], (maps.shape[1], maps.shape[2]))[:, 0].flatten(
        1
    )
    target = covered / covered.sum(1, keepdim=True)
    return -(target * maps.flatten(1).clamp_min(1e-9).log()).sum(1)
