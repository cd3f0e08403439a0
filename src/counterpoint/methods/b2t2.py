"""B2T2: the words that name a box of the picture get its features before columns are fused."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import Count, Natural
from ..networks.base import Towers
from ..networks.fusion.box_references import BoxReferences
from ..networks.fusion.tokens import ColumnTokens
from ..networks.heads import Linear
from ..networks.regions import pool_boxes
from ..recipes.schema import Recipe
from ..types import Embeddings, Target
from .fused import Fused, has_value
from .needs import Needs

PATCHES, REFERENCES = "patches.", "references."
"""Prefixes of the names of the patches of pictures, and of the boxes that the tokens of texts name."""


class B2T2(Fused):
    """`Fused` with ``fusion=joint``, whose words carry the features of the boxes that they name.

        e_t = token_t + tanh(V Σ_i R_ti φ_i + b),   R_ti = 1 where token t of the text names box i, as ``[2]`` does
        p   = softmax(C(joint(tokens of the picture, e_1, …, e_L)))

    φ_i is the mean over box i of the patches of the picture's tower. All words get tanh(b), and b starts at zero. A
    name without its box in the view is a word like any other, and a box that no word names has no part.

    Args:
        towers: of pictures, of boxes, which is not used, and of texts.
        recipe: unused: no embedding is learned.
        target: the label that is learned.
        bind: with ``tokens`` boxes are tokens of their own, in their order, that no word refers to; with ``none`` they
            have no part, and the method is `Fused` on pictures and texts.
        pictures: the tokens of a picture: its patches, or as in the paper their mean as a single one.
        depth, width, hidden: as of `Fused`.

    Raises:
        LookupError: for a picture tower without features of patches.
        ValueError: without a label, and for a tokenizer whose tokens do not tell numbers apart.

    Source: Alberti et al., "Fusion of Detected Objects in Text for Visual Question Answering" (2019), arXiv 1908.05054.
    There φ comes from a frozen network for each crop, with an optional table of its position, and BERT is both text
    tower and joint transformer. Its pre-training and its choice by one logit for each answer are left out.
    """

    family = "fusion"
    papers = ("b2t2",)
    needs: ClassVar[Needs] = Needs(3, 3, modalities=("image", "boxes", "text"))

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        bind: Literal["words", "tokens", "none"] = "words",
        pictures: Literal["patches", "whole"] = "whole",
        depth: Count = 2,
        width: Count = 128,
        hidden: Natural = 256,
    ) -> None:
        self.bind = bind  # which `token_widths` reads
        super().__init__(
            towers, recipe, target=target, pictures=pictures, depth=depth, width=width, hidden=hidden
        )
        self.picture, self.boxes, self.text = towers
        self.use_input_alone(self.boxes)
        if bind == "words":
            self.references = BoxReferences(self.text_tower.tokenizer)
            self.visual = Linear(self.image_tower.width, width, bias=True)

    def token_widths(self) -> dict[str, int]:
        image, boxes, text = self.columns
        widths = {image: self.tower(image).width, text: self.tower(text).width}
        return {**widths, boxes: self.tower(image).width} if self.bind == "tokens" else widths

    @property
    def embeds(self) -> tuple[str, ...]:
        return self.picture, self.text

    def outputs(self, column: str) -> tuple[str, ...]:
        if column == self.picture and self.bind != "none":
            return column, PATCHES + column
        return (column, REFERENCES + column) if column == self.text and self.bind == "words" else (column,)

    def seen(self, column: str, inputs: Tensor) -> Embeddings:
        if column == self.boxes:
            # No box has corners of 0, as where an example lacks the column.
            return {column: inputs.nan_to_num()}
        if column == self.picture:
            maps = self.image_tower.patches(inputs)
            shown = maps.mean((2, 3), keepdim=True) if self.pictures == "whole" else maps
            tokens = self.tokens_of(column).embedded(shown.flatten(2).mT, shown.shape[2])
            return {column: tokens, PATCHES + column: maps} if self.bind != "none" else {column: tokens}
        seen = super().seen(column, inputs)
        if self.bind == "words":
            seen[REFERENCES + column] = self.references(inputs).to(seen[column])
        return seen

    def fuse_columns(self, z: Embeddings) -> Float[Tensor, "B V"]:
        words = self._stand_in(self.text, z[self.text])
        of_boxes = words[:, :0]
        if self.bind == "words":
            words = words + self.of_named_boxes(z, words) * has_value(words)[..., None]
        if self.bind == "tokens":
            states = self.of_boxes(z)
            of_boxes = self.tokens_of(self.boxes).embedded(states) * has_value(states)[..., None]
        return super().fuse_columns({self.picture: z[self.picture], self.boxes: of_boxes, self.text: words})

    def tokens_of(self, column: str) -> ColumnTokens:
        """Return the layers that make tokens of a column's states."""
        tokens = self.joint.get_submodule(f"tokens.{column}")
        assert isinstance(tokens, ColumnTokens)
        return tokens

    def of_boxes(self, z: Embeddings) -> Float[Tensor, "B k V"]:
        """Return φ, the features of boxes; zero where there is no box."""
        maps, corners = z[PATCHES + self.picture], z[self.boxes]
        if maps.ndim == 2 or corners.ndim == 2:  # `classify` has no picture, or no boxes
            return maps.new_zeros(len(maps), 1, self.image_tower.width)
        has_box = (corners[..., 2:] > corners[..., :2]).all(-1, keepdim=True)
        return torch.where(has_box, pool_boxes(maps, corners), 0.0)

    def of_named_boxes(self, z: Embeddings, words: Float[Tensor, "B L W"]) -> Float[Tensor, "B L W"]:
        """Return tanh(V Σ_i R_ti φ_i + b) for each word."""
        features, references = self.of_boxes(z), z[REFERENCES + self.text]
        if references.ndim == 2:  # `classify` has no text
            return torch.zeros_like(words)
        most = min(features.shape[1], references.shape[2])
        return torch.tanh(self.visual(references[..., :most] @ features[:, :most]))
