"""MultiMAE: masked autoencoders of pictures and of maps over them, which share one budget of visible patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..forms import BelowOne, Count, Positive
from ..networks.base import Towers
from ..networks.decoder import CrossDecoder
from ..networks.masking import (
    drawn_for_batch,
    gather_patches,
    masked_grid,
    patches_of_columns,
    visible_count,
)
from ..networks.towers.maps import MapEmbedding, MapSquare, patchified
from ..networks.towers.transformer import VisionTransformer
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..raw import UNKNOWN
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .dbot import standardised as standardised_patches
from .needs import Needs
from .tower_method import TowerMethod, paired

STANDARDISED = "_standardised"
"""Ending of the name of the second term of pictures."""


class MultiMAE(TowerMethod):
    """A masked autoencoder of pictures and of maps over them, with a decoder for each column.

        S: k patches of all columns, with shares of the columns from Dirichlet(α, …, α)
        L = Σ over columns c of the mean over examples of the mean of l_c over hidden patches of c

    The visible patches S of all columns go through the blocks of the picture's tower together. A patch of a map has a
    linear embedding of its pixels, and the position of the picture's patch in the same place. Each decoder reads the
    states of S by one cross-attention (`counterpoint.networks.decoder.CrossDecoder`). l is the squared error of
    normalised pixels, the cross-entropy of classes, or the absolute error of numbers. A second decoder of pictures
    predicts the pixels standardised over each patch. A column that an example lacks gives no patches and no term, and
    an example without a hidden patch in a column does not count there. Pixels that are not known do not count.

    Without a column of maps this is a plain masked autoencoder. A user gets the tower's own features of pictures, for
    which no map is needed.

    Attributes:
        predicted: the names of the decoders of each column, which are those of their terms too.

    Args:
        towers: the image tower and that of maps, of which the input alone is used.
        recipe: unused.
        hidden: k is the number of visible patches that this share leaves of the patches of one column.
        concentration: α. Small values make patches of one column visible, large ones as many of each column.
        standardised: whether there is the second decoder of pictures.
        decoder_width, decoder_layers: of each decoder, which has four attention heads.

    Raises:
        ValueError: for a tower that is no vision transformer of this library, and masks that hide nothing or
            everything.

    Source: Bachmann et al., "MultiMAE: Multi-modal Multi-task Masked Autoencoders" (2022), arXiv 2204.01678. There maps
    of classes are read and predicted at a quarter of the resolution, the encoder has a global token, and depth is
    standardised picture by picture. Here maps have the resolution of the picture, and numbers are standardised over the
    training rows.
    """

    family = "images"
    papers = ("multimae",)
    needs: ClassVar[Needs] = Needs(1, None, modalities=("image",), more="map")
    asks: ClassVar[Mapping[str, str]] = {"": "takes_masks"}
    incomplete: ClassVar[Literal["drop", "use"]] = "use"
    draws = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        hidden: BelowOne = 0.5,
        concentration: Positive = 1.0,
        standardised: bool = True,
        decoder_width: Count = 64,
        decoder_layers: Count = 2,
    ) -> None:
        super().__init__(towers)
        self.image, *self.maps = towers
        tower = self.image_tower
        self.grid = masked_grid(tower)
        if not isinstance(tower, VisionTransformer):
            raise ValueError(
                f"multimae puts patches of maps between the layers of {tower.name!r}; take image=vit or image=vit-crop"
            )
        if not (hidden or self.maps):
            raise ValueError("hidden=0 of pictures alone leaves nothing to predict: hide more")
        self.views, self.concentration = paired(towers), concentration
        self.patches, pixels = self.grid[0] * self.grid[1], tower.patch**2
        self.visible = visible_count(self.patches, hidden)
        classes = 0
        self.embeddings = nn.ModuleDict()
        if self.maps:
            self.use_input_alone(*self.maps)
            square = self.tower(self.maps[0]).input
            assert isinstance(square, MapSquare)
            classes = len(square.classes)
            for column in self.maps:
                self.embeddings[column] = MapEmbedding(self.grid, tower.patch, tower.width)
        # A pixel of a map has the logits of all classes and a number, of which its column uses one.
        out = {self.image: 3 * pixels, **dict.fromkeys(self.maps, (classes + 1) * pixels)}
        self.predicted = {column: [column] for column in out}
        if standardised:
            self.predicted[self.image].append(self.image + STANDARDISED)
        self.decoders = nn.ModuleDict()
        for number, (column, names) in enumerate(self.predicted.items()):
            for name in names:
                self.decoders[name] = CrossDecoder(
                    tower.width,
                    self.grid,
                    columns=len(out),
                    own=number,
                    out=out[column],
                    width=decoder_width,
                    depth=decoder_layers,
                )

    @property
    def transformer(self) -> VisionTransformer:
        """The tower of pictures."""
        tower = self.image_tower
        assert isinstance(tower, VisionTransformer)
        return tower

    @property
    def embeds(self) -> tuple[str, ...]:
        return (self.image,)

    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        if column in self.maps:
            raise ValueError(f"this model predicts {column} and has no {column} embeddings")
        return super().embed(column, inputs, head)

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Draw the visible patches of all columns."""
        ranks, device = Ranks.present(), batch.ids.device
        has = torch.stack([batch.has(column) for column in self.predicted], 1)
        present = ranks.gather(has, ranks.counts(len(batch), device))
        sizes = [self.patches] * len(self.predicted)

        def draw(examples: int) -> Tensor:
            return patches_of_columns(examples, sizes, self.visible, self.concentration, present)

        index = drawn_for_batch(len(batch), device, draw)
        return replace(batch, views={**batch.views, f"{self.image}.visible": index})

    def predict(self, batch: Batch) -> dict[str, Float[Tensor, "B n out"]]:
        """Return what each decoder predicts of all patches of its column, from the patches that are visible.

        Of a picture these are normalised pixels, channel by channel; of a map, for each pixel the logits of the classes
        and a number.
        """
        tower, index = self.transformer, batch[f"{self.image}.visible"]
        pixels, positions = tower.pixels_and_positions(batch[self.image])
        tokens = [tower.patch_embedding(pixels), *(self.embeddings[name](batch[name]) for name in self.maps)]
        states = tower.from_tokens(gather_patches(torch.cat([x + positions for x in tokens], 1), index))
        return {name: decoder(states, index) for name, decoder in self.decoders.items()}

    def encode(self, batch: Batch) -> Embeddings:
        """Return the sum of the errors and the number of pixels that count, of every decoder of each column."""
        predictions, of_all = self.predict(batch), self.patches * len(self.predicted)
        hidden = torch.ones(len(batch), of_all, dtype=torch.bool, device=batch.ids.device)
        hidden = hidden.scatter(1, batch[f"{self.image}.visible"], False)
        sums = {}
        for (column, names), of_column in zip(
            self.predicted.items(), torch.split(hidden, self.patches, 1), strict=True
        ):
            of_decoders = []
            for name in names:
                errors, known = self.errors(column, name, upcast(predictions[name]), batch)
                counted = known & of_column[..., None] & batch.has(column)[:, None, None]
                summed = torch.where(counted, errors, 0.0).sum((1, 2))
                of_decoders.append(torch.stack([summed, counted.sum((1, 2)).to(summed)], 1))
            sums[column] = torch.stack(of_decoders, 1)
        return sums

    def errors(
        self, column: str, name: str, predicted: Float[Tensor, "B n out"], batch: Batch
    ) -> tuple[Float[Tensor, "B n p"], Bool[Tensor, "B n p"]]:
        """Return the error of a decoder at every pixel of its column, and which pixels are known."""
        if column == self.image:
            target, _ = self.transformer.pixels_and_positions(batch[column])
            target = upcast(standardised_patches(target) if name != column else target)
            return (predicted - target).square(), torch.ones_like(target, dtype=torch.bool)
        values = patchified(batch[column][:, None], self.grid)
        logits = predicted.reshape(*values.shape, -1)
        if values.is_floating_point():
            return (logits[..., -1] - values.nan_to_num(0.0)).abs(), ~values.isnan()
        target = values.long()
        errors = F.cross_entropy(
            logits[..., :-1].movedim(3, 1), target, ignore_index=UNKNOWN, reduction="none"
        )
        return errors, target != UNKNOWN

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = {}
        for column, names in self.predicted.items():
            for name, sums in zip(names, z[column].unbind(1), strict=True):
                summed, count = sums[:, 0], sums[:, 1].detach()
                mean = summed / count.clamp_min(1)
                losses[name] = moments.mean(mean, (count > 0).to(mean), ranks=Ranks.present())
        return losses

    def passes(self) -> dict[str, float]:
        return {"image": self.visible / self.patches}
