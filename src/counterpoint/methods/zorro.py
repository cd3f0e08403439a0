"""Zorro: one transformer over the tokens of several columns, of which no column reads another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..forms import Count, NonNegative, Positive
from ..losses import InfoNCELoss
from ..networks.base import Towers
from ..networks.fusion.cross_attention import CrossAttentionBlock
from ..networks.fusion.tokens import ColumnTokens
from ..networks.fusion.type_masks import FUSION, type_mask
from ..networks.heads import Linear
from ..networks.towers.transformer import Embedding, TransformerBlock
from ..pairwise import Temperature
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._joint import JointMethod
from .base import Ranges
from .needs import Needs
from .tower_method import distinct, paired


class Zorro(JointMethod):
    """Tokens of all columns and fusion tokens in one transformer; fusion tokens read all, columns only themselves.

        T = blocks([tokens of column 1; …; tokens of column n; fusion tokens])   under `type_mask`
        o_c = readout(query c, T of c),   z_c = nz(W_c o_c),   for each column c and for the fusion tokens f
        L = Σ_{a<b} InfoNCE(z_a, z_b) + w Σ_c InfoNCE(z_c, z_f)

    Attention and perceptrons are shared by all types. As no token of a column attends to fusion tokens, a column is
    embedded alone exactly as among others. Tokens are the states of the towers. A joint column is embedded by f.

    Rows with gaps are used. A column that a row lacks has no tokens in that row, and a term takes the rows that have
    its columns. The global readout of the paper, which classifiers read, is left out: no contrast would train it.

    Args:
        towers: the towers, by column; each must have features of its parts.
        recipe: gives the width of the embedding.
        tokens: fusion tokens.
        width: of the transformer; a multiple of 4.
        depth: blocks.
        weight: w. With 0 there are neither fusion tokens nor joint columns.
        mask: ``"none"`` lets all tokens attend to all. This is the control.
        temperature: where τ starts; learned within [0.01, 1].

    Raises:
        LookupError: at the first batch, for a tower without features of its parts.
        ValueError: for a width that is no multiple of 4.

    Source: Recasens et al., "Zorro: the masked multimodal transformer" (2023), arXiv 2301.09595. No official code was
    found: the number of fusion tokens, w and τ are not confirmed.
    """

    family = "fusion"
    papers = ("zorro",)
    needs: ClassVar[Needs] = Needs(2, None)
    incomplete: ClassVar[Literal["drop", "use"]] = "use"
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "weight": (0.1, 3.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        tokens: Count = 8,
        width: Count = 128,
        depth: Count = 3,
        weight: NonNegative = 1.0,
        mask: Literal["types", "none"] = "types",
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers)
        if width % 4:
            raise ValueError(f"width={width} must be a multiple of 4")
        self.views, self.weight, self.mask = paired(towers), weight, mask
        self.tokens = nn.ModuleDict({column: ColumnTokens(t.width, width) for column, t in towers.items()})
        self.fusion = Embedding(tokens, width, std=0.02) if weight else None
        self.fused = "+".join(self.columns)
        self.outputs = (*self.columns, *([self.fused] if weight else []))
        self.blocks = nn.ModuleList(TransformerBlock(width, 4, depth, causal=False) for _ in range(depth))
        self.queries = Embedding(len(self.outputs), width, std=0.02)
        self.readout = CrossAttentionBlock(width)
        self.norm = nn.LayerNorm(width)
        embedding = recipe.widths.embedding
        self.projections = nn.ModuleDict({name: Linear(width, embedding) for name in distinct(towers)})
        self.fused_projection = Linear(width, embedding) if weight else None
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))

    @property
    def joint_columns(self) -> tuple[str, ...]:
        return super().joint_columns if self.weight else ()

    def encode(self, batch: Batch) -> Embeddings:
        if not {*self.columns} & batch.present.keys():
            return self.read({column: batch[column] for column in self.columns})
        z: Embeddings = {}
        for columns, rows in self._patterns(batch):
            of_rows = self.read({column: batch[column][rows] for column in columns})
            for name in self.outputs:
                if name in of_rows:
                    empty = of_rows[name].new_zeros(len(batch), of_rows[name].shape[1])
                    z[name] = z.get(name, empty).index_copy(0, rows, of_rows[name])
        return z

    def _patterns(self, batch: Batch) -> Iterator[tuple[list[str], Int[Tensor, " n"]]]:
        """Yield each set of columns that some rows have, with these rows; all columns, where no row has them too."""
        has = torch.stack([batch.has(column) for column in self.columns], 1)
        every = torch.ones_like(has[:1]) if len(has) else has.new_ones(1, len(self.columns))
        # All columns always, so that every output and every parameter has a part in each step.
        for pattern in torch.unique(torch.cat([every, has]), dim=0):
            columns = [
                column for column, is_there in zip(self.columns, pattern.tolist(), strict=True) if is_there
            ]
            if columns:
                yield columns, (has == pattern).all(1).nonzero()[:, 0]

    def read(self, inputs: Mapping[str, Tensor]) -> Embeddings:
        """Return the readouts of examples that have some columns: of these, and of fusion tokens as ``a+b``."""
        states, masks, types = [], [], []
        for number, column in enumerate(self.columns):
            if column in inputs:
                of_column, mask = self.tokens[column](self.tower(column), inputs[column])
                states.append(of_column)
                masks.append(mask)
                types.append(torch.full((mask.shape[1],), number, device=mask.device))
        if self.fusion is not None:
            fusion = self.fusion.weight.to(states[0]).expand(len(states[0]), -1, -1)
            states.append(fusion)
            masks.append(torch.ones(fusion.shape[:2], dtype=torch.bool, device=fusion.device))
            types.append(torch.full((fusion.shape[1],), FUSION, device=fusion.device))
        x, keys, type_ = torch.cat(states, 1), torch.cat(masks, 1), torch.cat(types)
        seen = keys if self.mask == "none" else (keys[:, None] & type_mask(type_))[:, None]
        for block in self.blocks:
            x = block(x, mask=seen)
        parts = torch.split(x, [part.shape[1] for part in states], 1)
        names = [name for name in self.outputs if name in inputs or name == self.fused]
        return {
            name: self._readout(name, part, mask)
            for name, part, mask in zip(names, parts, masks, strict=True)
        }

    def _readout(
        self, name: str, states: Float[Tensor, "B n W"], mask: Bool[Tensor, "B n"]
    ) -> Float[Tensor, "B W"]:
        query = self.queries.weight[self.outputs.index(name)].to(states).expand(len(states), 1, -1)
        return self.norm(self.readout(query, states, mask))[:, 0]

    def features(self, column: str, inputs: Tensor) -> Float[Tensor, "n W"]:
        return self.read({column: inputs})[column]

    def joint_features(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "n W"]:
        return self.read(inputs)[self.fused]

    def project(self, column: str, features: Float[Tensor, "n W"], head: str) -> Float[Tensor, "n d"]:
        if column in self.columns:
            return super().project(column, features, head)
        assert self.fused_projection is not None
        return self.fused_projection(features)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        units = {name: F.normalize(self.project(name, z[name], "global"), dim=-1) for name in self.outputs}
        losses = {f"{a}-{b}": self._term(units, a, b, batch) for a, b in combinations(self.columns, 2)}
        if self.weight:
            for column in self.columns:
                losses[f"{column}-{self.fused}"] = self.weight * self._term(units, column, self.fused, batch)
        return losses

    def _term(self, units: Embeddings, a: str, b: str, batch: Batch) -> Float[Tensor, ""]:
        """Return the contrast of two outputs over the rows of all ranks that have both; 0 where there is none."""
        both = batch.has(a) & batch.has(b)
        x, y = units[a][both], units[b][both]
        if not sum(Ranks.present().counts(len(x), x.device)):
            return (x * y).sum()
        return self.objective(x, y)
