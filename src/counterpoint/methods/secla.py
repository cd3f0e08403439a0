"""SECLA: which name is which box, learned from pictures with boxes and captions alone."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..forms import NonNegative, Positive
from ..losses import SECLALoss
from ..networks.base import Towers
from ..networks.regions import pool_boxes
from ..networks.towers.parts.regions import grid
from ..networks.towers.transformer import Embedding
from ..pairwise import Temperature
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, Target
from .base import Ranges
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod, paired


class SECLA(TowerMethod):
    """Bags of boxes find bags of names, and the other way round; nothing says which name is which box.

        x_k = nz(W_I mean over box k of the patches of f_I(picture)),   y_m = nz(W_T f_T(name m))
        L = SECLA({x_k}, {y_m} and a learned entry for no name)

    Names are the tags of a row, by default ``nouns``, those of its caption. Some of them
    name nothing that has a box, and some boxes have no name. Only names that are in the batch are encoded. A row
    without a box in its view has no part in the loss. In use boxes (`embed_regions`) and names are compared by their
    cosine.

    Args:
        towers: of pictures, of boxes, which is not used, and of texts.
        recipe: gives the width of the embedding.
        target: the label with the names.
        agreement: α of the loss.
        directions: ``"both"``, or ``"names"``: names find boxes alone, without agreement.
        pooling: ``"mean"`` has means in place of maxima.
        template: the text of a name, with ``{}`` in its place.
        temperature: where τ starts; learned within [0.01, 1].

    Raises:
        LookupError: for an image tower without features of patches.
        ValueError: without a label, and for a template without ``{}``.

    Source: Qu et al., "Weakly Supervised Face Naming with Symmetry-Enhanced Contrastive Loss" (2022), arXiv 2210.08957,
    without its second stage (SECLA-B). There features are frozen and heads are perceptrons without normalisation.
    """

    family = "local features"
    papers = ("secla",)
    needs: ClassVar[Needs] = Needs(3, 3, modalities=("image", "boxes", "text"))
    learns = ("tags",)
    default_label: ClassVar[str] = "nouns"
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "agreement": (0.01, 1.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        agreement: NonNegative = 0.15,
        directions: Literal["both", "names"] = "both",
        pooling: Literal["max", "mean"] = "max",
        template: str = "a {}",
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers)
        if target is None:
            raise ValueError("secla learns names: name a label with tags, --labels nouns")
        if "{}" not in template:
            raise ValueError(f"template={template!r} has no {{}} in the place of the name")
        self.target = target
        self.picture, self.boxes, self.text = towers
        self.views = paired(towers)
        self.use_input_alone(self.boxes)
        grid(self.image_tower)  # so that a tower without patches is refused at once
        heads = linear_heads({c: towers[c] for c in (self.picture, self.text)}, recipe.widths.embedding)
        self.projections = nn.ModuleDict(heads)
        self.no_name = Embedding(1, recipe.widths.embedding, std=recipe.widths.embedding**-0.5)
        tokens = self.text_tower.tokenizer([template.replace("{}", name) for name in target.classes])
        self.register_buffer("tokens", tokens, persistent=False)
        self.objective = SECLALoss(
            agreement=agreement,
            directions=directions,
            pooling=pooling,
            temperature=Temperature(temperature, bounds=(0.01, 1.0)),
        )

    @property
    def embeds(self) -> tuple[str, ...]:
        return self.picture, self.text

    def features(self, column: str, inputs: Tensor) -> Tensor:
        if column == self.picture:
            return self.image_tower.patches(inputs).mean((2, 3))
        return super().features(column, inputs)

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Put the numbers of a row's names, and −1 behind them, in the place of its caption."""
        assert self.target is not None
        tags = batch.labels[self.target.label] == 1
        count = tags.sum(1, keepdim=True)
        longest = max(1, int(count.max())) if len(count) else 1
        order = tags.int().sort(dim=1, descending=True, stable=True).indices[:, :longest]
        names = torch.where(torch.arange(longest, device=tags.device) < count, order, -1)
        return replace(batch, views={**batch.views, self.text: names})

    def encode(self, batch: Batch) -> Embeddings:
        maps = self.image_tower.patches(batch[self.picture])
        regions = pool_boxes(maps, batch[self.boxes])
        names, number = torch.unique(batch[self.text].clamp_min(0), return_inverse=True)
        of_names = self.features(self.text, self.get_buffer("tokens")[names])[number]
        return {self.picture: maps.mean((2, 3)), self.boxes: regions.nan_to_num(), self.text: of_names}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        ranks = Ranks.present()
        boxed, named = ~batch[self.boxes].isnan().any(-1), batch[self.text] >= 0
        x, of_names = (
            self.projections[self.columns[c]](z[name])
            for c, name in ((self.picture, self.boxes), (self.text, self.text))
        )
        y = torch.cat([self.no_name.weight.to(of_names).expand(len(x), 1, -1), of_names], 1)
        y_mask = F.pad(named, (1, 0), value=True)
        x, x_mask = padded(F.normalize(x, dim=-1), boxed, max(ranks.counts(x.shape[1], x.device)))
        y, y_mask = padded(F.normalize(y, dim=-1), y_mask, max(ranks.counts(y.shape[1], y.device)))
        has = x_mask.any(1)
        if not sum(ranks.counts(int(has.sum()), x.device)):
            return {"secla": 0 * (x.sum() + y.sum())}
        return {"secla": self.objective(x[has], y[has], x_mask=x_mask[has], y_mask=y_mask[has])}


def padded(
    bags: Float[Tensor, "B n d"], mask: Bool[Tensor, "B n"], count: int
) -> tuple[Float[Tensor, "B m d"], Bool[Tensor, "B m"]]:
    """Return bags of so many vectors, zeros behind those that there are.

    >>> padded(torch.ones(1, 1, 2), torch.ones(1, 1, dtype=torch.bool), 2)[1].tolist()
    [[True, False]]
    """
    more = count - bags.shape[1]
    return F.pad(bags, (0, 0, 0, more)), F.pad(mask, (0, more))
