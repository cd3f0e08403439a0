"""VLM2Vec: a language model that reads pictures embeds them, and texts, under instructions."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Positive
from ..networks.base import Towers
from ..networks.towers.embedder import PictureEmbedder, TextEmbedder
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .dual_encoder import linear_heads
from .tower_method import TowerMethod
from .tower_method import paired as views_of_pairs

Directions = Literal["one", "both"]


class VLM2Vec(TowerMethod):
    """A softmax over targets for each query, on states of a language model behind instructions.

        q = nz(W h(instruction, query)),   t = nz(W h(target_instruction, target))
        L = −(1/B) Σ_i log ( exp(<q_i, t_i>/τ) / Σ_{j = i or t_j ≠ t_i} exp(<q_i, t_j>/τ) )

    h is the state of the last token of a prompt. The first column gives the queries, the second one the targets. Other
    rows with the same target are no negatives. Both columns are read by the tower ``lm`` unless others are named; only
    it reads instructions. Embeddings of examples are computed with the instructions of training.

    The paper has no head W, adapts a pretrained model by low-rank updates (``image=lm@RUN,tune=lora`` does), and has an
    instruction for each data set; here there is one for each column.

    Args:
        towers: of queries and of targets.
        recipe: gives the width of the embedding.
        instruction: in front of queries; none unless given.
        target_instruction: in front of targets; none unless given.
        directions: ``one``, from queries to targets, or ``both``, the mean of the two directions.
        temperature: τ, which is fixed.

    Raises:
        LookupError: for an instruction to a tower that reads none.
        ValueError: for two instructions to one tower.

    Source: Jiang et al., "VLM2Vec: Training Vision-Language Models for Massive Multimodal Embedding Tasks" (2024),
    arXiv 2410.05160.
    """

    family = "two towers"
    papers = ("vlm2vec",)
    tunable: ClassVar[Ranges] = {"temperature": (0.01, 0.2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        instruction: str = "",
        target_instruction: str = "",
        directions: Directions = "one",
        temperature: Positive = 0.02,
    ) -> None:
        super().__init__(towers)
        self.views = views_of_pairs(towers)
        if len({id(tower) for tower in towers.values()}) == 1 and instruction != target_instruction:
            raise ValueError(
                f"columns {' and '.join(towers)} are read by one tower: give instruction and target_instruction the "
                "same text"
            )
        for tower, text in zip(towers.values(), (instruction, target_instruction), strict=True):
            if isinstance(tower, PictureEmbedder | TextEmbedder):
                tower.instruction = text
            elif text:
                raise LookupError(f"the {tower.modality} tower {tower.name!r} reads no instruction; name lm")
        self.projections = nn.ModuleDict(linear_heads(towers, recipe.widths.embedding))
        self.objective = _DistinctTargets(temperature, directions)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x, y = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns)
        *_, target = self.columns
        return {"vlm2vec": self.objective(x, y, content_ids(batch[target]))}


class _DistinctTargets(PairwiseLoss):
    """InfoNCE without negatives that are equal to the positive."""

    def __init__(self, temperature: float, directions: Directions) -> None:
        super().__init__()
        self.temperature = Temperature(temperature, learnable=False)
        self.directions = ("row", "column") if directions == "both" else ("row",)

    def forward(
        self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"], target: Int[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        x, y = paired(x=x, y=y)
        x = self.temperature.scale(x)

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            logits = tile.dot().masked_fill(tile.same("target") & (tile.i != tile.j), NEG)
            return {per: {"all": LogSumExp(logits)} for per in self.directions}

        r = self.reduce(terms, rows={"z": x, "target": target}, columns={"z": y, "target": target})
        spread = torch.stack([getattr(r, per).all for per in self.directions]).mean(0)
        return self.mean(spread - dot(x, y))


def content_ids(inputs: Tensor) -> Int[Tensor, " B"]:
    """Return a number for each example of a batch, the same on all ranks; equal examples have equal numbers.

    >>> content_ids(torch.tensor([[1, 2], [2, 1], [1, 2]])).unique().numel()
    2
    """
    bits = inputs.float().view(torch.int32) if inputs.is_floating_point() else inputs
    flat = bits.flatten(1).long()
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(-(1 << 62), 1 << 62, (flat.shape[1],), generator=generator)
    return (flat * weights.to(flat.device)).sum(1)  # of 64 bits, modulo 2⁶⁴
