"""TagAlign: patches of a frozen CLIP learn the tags of captions beside the captions."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ..forms import Count, NonNegative, Positive
from ..losses import InfoNCELoss, MultiLabelSoftmaxLoss
from ..networks import tune
from ..networks.base import Towers
from ..networks.towers.convnet import ChannelNorm
from ..networks.towers.parts.regions import grid
from ..pairwise import Temperature
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, Target, TrainingExamples
from .base import ONCE, Ranges
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod, paired

_AT_ONCE = 256
"""Tags that the text tower sees at once."""


class _GatedBlock(nn.Module):
    """x + a conv(gelu(norm(conv(x)))), 3 × 3; a is a gate for each channel, 0.1 at first: nearly the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.norm = ChannelNorm(width)
        self.gate = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Float[Tensor, "n d h w"]) -> Float[Tensor, "n d h w"]:
        return x + self.gate[:, None, None] * self.second(F.gelu(self.norm(self.first(x))))


class TagAlign(TowerMethod):
    """A projector on the patches of a frozen CLIP, trained with captions and with the tags of captions.

        v = nz(W mean over patches of g(f(picture))),   t = nz(W_T f_T(caption)),   e_k = nz(W_T f_T(tag k))
        L = InfoNCE(v, t; τ_1) + λ mean_i CE(q_i, softmax_k(<v_i, e_k>/τ_2)),   q_i = uniform over the tags of i

    Both towers, W_T and the embeddings of tags stay as they are; g and W learn. Write ``tagalign,from=RUN`` with a run
    of ``clip``: it gives towers and heads, and W starts from its image head. A picture has one softmax over all tags,
    and its own share the mass. Pictures without tags have no part in the second term. Both temperatures are learned,
    each by itself.

    Tags are the label ``nouns`` unless another one is named: nouns of captions, and adjectives that WordNet also lists
    as nouns, as it does colours.

    Args:
        towers: the towers, by column.
        recipe: gives the width of the embedding.
        target: the label with the tags.
        weight: λ.
        shuffled: give each picture the tags of the next one in the batch of all processes. This is the control.
        blocks: of g; each is two convolutions and a gate. The start of the gate is not confirmed by the released code.
        temperature: where τ_1 and τ_2 start; they are kept in [0.01, 1].

    Raises:
        LookupError: for an image tower without features of patches.

    Source: Liu et al., "TagAlign: Improving Vision-Language Alignment with Multi-Tag Classification" (2023), arXiv
    2312.14149. The paper has a language model parse captions, and value-value attention in the last layers of CLIP.
    """

    family = "local features"
    papers = ("tagalign",)
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    learns = ("tags",)
    default_label: ClassVar[str] = "nouns"
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "weight": (0.1, 3.0)}
    epoch_start_every = ONCE
    names: ClassVar[bool] = True
    tags: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        weight: NonNegative = 1.0,
        shuffled: bool = False,
        blocks: Count = 2,
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers)
        if target is None:
            raise ValueError("tagalign learns tags: name a label of the data, --labels nouns")
        self.target, self.weight, self.shuffled = target, weight, shuffled
        self.picture, self.text = towers
        self.views = paired(towers)
        grid(self.image_tower)  # so that a tower without patches is refused at once
        for tower in towers.values():
            tune(tower, "frozen")
        self.projections = nn.ModuleDict(linear_heads(towers, recipe.widths.embedding))
        self.projections[self.columns[self.text]].requires_grad_(False)
        self.projector = nn.Sequential(*(_GatedBlock(self.image_tower.width) for _ in range(blocks)))
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))
        self.tagging = MultiLabelSoftmaxLoss(Temperature(temperature, bounds=(0.01, 1.0)), reduction="mean")
        self.register_buffer("tags", torch.zeros(len(target.classes), recipe.widths.embedding))

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Embed the tags, once the text tower and its head are those of the run that this one goes on from."""
        if not clock.step:
            self.embed_tags()

    @torch.no_grad()
    def embed_tags(self) -> None:
        """Embed the names of the tags by the frozen text tower and head."""
        assert self.target is not None
        names = self.target.classes
        parts = [
            self.embed(self.text, list(names[start : start + _AT_ONCE]))
            for start in range(0, len(names), _AT_ONCE)
        ]
        self.tags.copy_(torch.cat(parts))

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Shuffle the tags of the whole batch where that is asked for."""
        assert self.target is not None
        if not self.shuffled:
            return batch
        ranks, tags = Ranks.present(), batch.labels[self.target.label]
        counts = ranks.counts(len(batch), tags.device)
        shuffled = ranks.gather(tags, counts).roll(1, 0)[ranks.rows(counts)]
        return replace(batch, labels={**batch.labels, self.target.label: shuffled})

    def features(self, column: str, inputs: Tensor) -> Tensor:
        if column == self.picture:
            # The head is linear: the mean of projected patches is the projection of their mean.
            return self.projector(self.image_tower.patches(inputs)).mean((2, 3))
        return super().features(column, inputs)

    @torch.no_grad()
    def patch_features(
        self, pictures: UInt8[Tensor, "n 3 H W"], side: int | None = None
    ) -> Float[Tensor, "n w h v"]:
        return self.projector(super().patch_features(pictures, side))

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        assert self.target is not None
        v, t = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns)
        terms = {"infonce": self.objective(v, t)}
        if self.weight:
            tags = batch.labels[self.target.label] == 1
            loss = self.tagging(v, self.tags.to(v), targets=tags, weights=tags.any(1).to(v))
            terms["tags"] = self.weight * loss
        return terms
