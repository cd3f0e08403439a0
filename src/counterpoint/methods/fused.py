"""Fusion before pooling: a classifier of the states of any columns, which attend to each other."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..forms import Count, Natural, Positive
from ..networks.base import ImageTower, TextTower, Tower, Towers
from ..networks.fusion.co_encoder import CoEncoder
from ..networks.fusion.joint_encoder import JointEncoder
from ..networks.fusion.single_stream import SingleStream
from ..networks.heads import mlp
from ..networks.towers.parts.pooling import pool
from ..networks.towers.parts.regions import grid
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, Target
from .classifying import Classifying
from .needs import Needs

Fusion = Literal["joint", "cross", "co"]
"""Choices of blocks in which columns meet."""


class Fused(Classifying):
    """``p = softmax(C(fusion(states of x_1, …, states of x_N)))``; L = CE(p, y): the counterpart of `Late`.

    ===========  ================================================================================================
    ``joint``    one transformer over the tokens of all columns, read at a token of its own (`SingleStream`)
    ``cross``    one column reads each other column by cross-attention (`JointEncoder`)
    ``co``       one column and each other column read each other (`CoEncoder`)
    ===========  ================================================================================================

    States are the patches of a picture, the words of a text, and the times of a sound, a clip or a series. With
    ``cross`` and ``co`` the column that reads is the first one of texts, or else the first one. The others share a
    tower and the blocks. C reads the vectors of all these pairs side by side: that of the reading column, as its tower
    pools states, and with ``co`` the mean of the other's states too.

    Examples with gaps are used. A column that an example lacks has no tokens with ``joint``, and states of 0 otherwise.
    Examples without a class (−1) do not count. A column is embedded as the vector of an example without the others.

    ``from=RUN`` takes over the blocks of a run too, where they are built alike: of another ``fused``, or with ``cross``
    and ``co`` of `ALBEF`.

    Args:
        towers: by column, any number of them, each with states.
        recipe: unused: no embedding is learned.
        target: the label that is learned.
        fusion: the blocks.
        pictures: the tokens of a picture: its patches, or their mean as a single one.
        depth: number of blocks.
        width: of the transformer of ``joint``; a multiple of 4. Other blocks are as wide as the tower that reads.
        hidden: the width of the hidden layer of C; 0 for a linear C.
        backbone: factor of the towers' learning rate. Blocks that are new need a higher one than towers that are
            trained (the paper: 5 to 10 times).

    Raises:
        LookupError: for a picture tower without features of patches.
        ValueError: without a label, for a width that is no multiple of 4, and for ``cross`` and ``co`` of a single
            column, or of columns that share other than one tower beside the one that reads.
    """

    family = "fusion"
    papers = ("less-bimodal-supervision",)
    needs: ClassVar[Needs] = Needs(1, None)
    incomplete: ClassVar[Literal["drop", "use"]] = "use"
    continues: ClassVar[tuple[str, ...]] = ("joint",)

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        fusion: Fusion = "joint",
        pictures: Literal["patches", "whole"] = "patches",
        depth: Count = 2,
        width: Count = 128,
        hidden: Natural = 256,
        backbone: Positive = 1.0,
    ) -> None:
        super().__init__(towers, target)
        self.rates = {} if backbone == 1 else {"towers.": backbone}
        if width % 4:
            raise ValueError(f"width={width} must be a multiple of 4")
        self.pictures = pictures
        self.reading = next((c for c, it in towers.items() if isinstance(it, TextTower)), next(iter(towers)))
        self.read_columns = [column for column in towers if column != self.reading]
        self.joint: SingleStream | JointEncoder | CoEncoder
        if fusion == "joint":
            for tower in towers.values():
                self._patches(tower)  # is refused here, and not at the first batch
            self.joint = SingleStream(self.token_widths(), width, depth)
        else:
            read = {self.columns[column]: towers[column] for column in self.read_columns}
            if len(read) != 1 or self.columns[self.reading] in read:
                raise ValueError(
                    f"fusion={fusion} lets {self.reading} read columns that share one other tower, and the towers of "
                    f"the others are {', '.join(read) or 'none'}: choose with columns=, or take fusion=joint"
                )
            (other,), reader = read.values(), towers[self.reading]
            encoder = JointEncoder if fusion == "cross" else CoEncoder
            self.joint = encoder(
                reader.width, other.width, self._patches(other), depth, heads=math.gcd(reader.width, 4)
            )
            width = reader.width * self.joint.streams * len(self.read_columns)
        classes = len(self.required_target().classes)
        self.classifier = mlp(width, hidden, classes, layers=2 if hidden else 1, norm=False)

    def token_widths(self) -> dict[str, int]:
        """Return the width of the states of each column that has tokens in ``joint``."""
        return {column: self.tower(column).width for column in self.columns}

    def _patches(self, tower: Tower) -> int:
        """Return how many learned positions states of a tower need: sequences have positions already."""
        if not isinstance(tower, ImageTower):
            return 0
        return 1 if self.pictures == "whole" else math.prod(grid(tower))

    @property
    def shares_space(self) -> bool:
        return False

    def seen(self, column: str, inputs: Tensor) -> Embeddings:
        tower = self.tower(column)
        whole = self.pictures == "whole" and isinstance(tower, ImageTower)
        if isinstance(self.joint, SingleStream):
            tokens, mask = self.joint.tokens[column](tower, inputs, whole)
            # Zeros are padding, as where an example lacks the column.
            return {column: tokens * mask[..., None]}
        if not isinstance(tower, ImageTower):
            return {column: tower.states(inputs)}
        patches = tower.patches(inputs).flatten(2).mT
        return {column: patches.mean(1, keepdim=True) if whole else patches}

    def features(self, column: str, inputs: Tensor) -> Tensor:
        """Return the vector that is classified, of examples that have this column alone."""
        seen = self.seen(column, inputs)
        states = seen[column]
        empty = {
            name: states.new_zeros(len(states), self.tower(c).width)
            for c in self.columns
            for name in self.outputs(c)
        }
        return self.fuse_columns(empty | seen)

    def fuse_columns(self, z: Embeddings) -> Float[Tensor, "B V"]:
        """Return the vectors that are classified, of the states of every column."""
        z = {column: self._stand_in(column, z[column]) for column in self.columns}
        if isinstance(self.joint, SingleStream):
            return self.joint(tokens := torch.cat([*z.values()], 1), has_value(tokens))
        assert isinstance(self.joint, JointEncoder | CoEncoder)
        asking, vectors = z[self.reading], []
        for column in self.read_columns:
            mask = has_value(z[column])
            mask = mask | ~mask.any(1, keepdim=True)
            states, *others = self.joint.fused(asking, z[column], mask)
            vectors.append(self._pooled(states, asking))
            vectors += [pool(other, mask, "mean") for other in others]
        return torch.cat(vectors, 1)

    def _stand_in(self, column: str, states: Tensor) -> Float[Tensor, "B n W"]:
        """Return states as they are; padding where `classify` has none, as no example has the column."""
        if states.ndim == 3:
            return states
        width = self.joint.width if isinstance(self.joint, SingleStream) else states.shape[1]
        return states.new_zeros(len(states), 1, width)

    def _pooled(self, states: Float[Tensor, "B n W"], like: Float[Tensor, "B n W"]) -> Float[Tensor, "B W"]:
        """Return one vector of the states of the reading column; padding is where ``like`` has zeros."""
        tower, mask = self.tower(self.reading), has_value(like)
        mask = mask | ~mask.any(1, keepdim=True)
        how = tower.pooling if isinstance(tower, TextTower) else None
        return pool(states, mask, how or "mean")

    def logits(self, z: Embeddings, batch: Batch) -> Float[Tensor, "B classes"]:
        return self.classifier(self.fuse_columns(z))

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        return {"fused": self.cross_entropy(self.logits(z, batch), batch)}


def has_value(states: Float[Tensor, "B n W"]) -> Bool[Tensor, "B n"]:
    """Return which states are no zero vectors, which are padding."""
    return states.ne(0).any(-1)
