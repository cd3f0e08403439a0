"""CustomContrast: vectors of a subject in a text space, learned from what its pictures share, not from one picture."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Count, NonNegative, Positive
from ..losses import AppearanceContrastLoss, HardNegativesLoss
from ..networks import tune
from ..networks.attention_pooling import AttentionPooler
from ..networks.base import Towers
from ..networks.heads import Linear
from ..networks.towers.maps import MapSquare
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Kind, StepInfo, Target
from ._patches import patches_of
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod, paired

APPEARANCE = "appearance."
"""Beginning of the name of features of cut-outs."""
_GREY = 0.5


class CustomContrast(TowerMethod):
    """Learned queries read a picture of a subject; each layer's vector is contrasted between pictures of subjects.

        q_0 … q_L = queries attending to patches,   s^l = nz(V_l q_l),   w = nz(V_0 q_0),   u = nz(W f_T(name))
        L = α C(u, w) + β mean_l A(s^l; subjects, appearances)

    C is InfoNCE in both directions, in which rows of one subject are no negatives of each other. A is
    `AppearanceContrastLoss`: subjects repel less the more they look alike. Appearances are the features of cut-outs,
    pictures that are grey where the map has its first class, the background, by a frozen copy of the image tower as it
    is at the start, less their mean over the batch. Name a trained tower (``image=cnn@RUN``) for them to mean anything.

    s^l is as wide as the text tower's features: a generator of pictures reads one of these vectors in each of its
    layers, in place of the subject's word. The embedding of a picture is [s^1 … s^L] / √L.

    Views of one subject are those rows of a batch that have its label: ``classes:4`` puts four of each subject into a
    batch. They must differ in what is not the subject: changes of one picture teach no more than these changes.

    Args:
        towers: the towers, by column: pictures, maps and the names of subjects. That of pictures must have features of
            patches; of that of maps the input alone is used.
        recipe: gives the width of w and u.
        target: the label, whose classes are the subjects; ``group`` unless given.
        layers: L.
        scaled: whether negatives count by how different they look; else all count alike, which is the ablation.
        text: α.
        appearance: β.
        temperature: τ of A.

    Raises:
        ValueError: without a label, and for maps of numbers.
        LookupError: for a tower without features of patches.

    Source: Chen et al., "CustomContrast: A Multilevel Contrastive Perspective For Subject-Driven Text-to-Image
    Customization" (2024), arXiv 2409.05606, without a generator: its textual queries and its diffusion loss are left
    out. The formulas, α, β and τ could not be verified; that appearances are centred is this package's choice.
    """

    family = "supervised"
    papers = ("customcontrast",)
    needs: ClassVar[Needs] = Needs(3, 3, modalities=("image", "map", "text"))
    learns: ClassVar[tuple[Kind, ...]] = ("classes",)
    default_label: ClassVar[str] = "group"
    sampler = "classes:4"
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.5), "appearance": (0.2, 5.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        layers: Count = 3,
        scaled: bool = True,
        text: NonNegative = 1.0,
        appearance: NonNegative = 1.0,
        temperature: Positive = 0.1,
    ) -> None:
        super().__init__(towers)
        if target is None:
            raise ValueError("customcontrast learns subjects: name a label of the data's with --labels NAME")
        self.picture, self.map, self.text = towers
        views = paired(towers)
        self.views = views if scaled else {self.picture: views[self.picture], self.text: views[self.text]}
        given = towers[self.map].input
        assert isinstance(given, MapSquare)
        if not given.classes:
            raise ValueError(f"customcontrast cuts out subjects, and the maps of {self.map} hold numbers")
        self.use_input_alone(self.map)
        width, embedding = self.image_tower.width, recipe.widths.embedding
        self.queries = AttentionPooler(width, layers + 1, heads=4 if width % 4 == 0 else 1)
        self.vectors = nn.ModuleList(Linear(width, self.text_tower.width) for _ in range(layers))
        self.picture_head, self.name_head = Linear(width, embedding), Linear(self.text_tower.width, embedding)
        self.judge = copy.deepcopy(self.image_tower)
        tune(self.judge, "frozen")
        self.label, self.scaled = target.label, scaled
        self.weights = {"text": text, "appearance": appearance}
        self.semantic, self.contrast = HardNegativesLoss(temperature), AppearanceContrastLoss(temperature)
        with torch.no_grad():  # a tower without patches is refused here, and not at the first step
            patches_of(self.image_tower, torch.zeros(1, 3, *[self.image_tower.size] * 2))

    @property
    def embeds(self) -> tuple[str, ...]:
        return (self.picture,)

    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        if column in (self.map, self.text):
            raise ValueError(f"this model learns from {column} and has no {column} embeddings")
        return super().embed(column, inputs, head)

    @property
    def width(self) -> int:
        return len(self.vectors) * self.text_tower.width

    def features(self, column: str, inputs: Tensor) -> Tensor:
        """Return the queries of pictures behind each other, or the features of names."""
        if column == self.text:
            return super().features(column, inputs)
        return self.queries(patches_of(self.image_tower, inputs).flatten(1, 2)).flatten(1)

    def layer_vectors(self, queries: Float[Tensor, "B _"]) -> Float[Tensor, "B L w"]:
        """Return the unit-norm vector of each layer, from what `features` says of pictures."""
        each = queries.view(len(queries), len(self.vectors) + 1, -1)[:, 1:]
        vectors = [layer(q) for layer, q in zip(self.vectors, each.unbind(1), strict=True)]
        return F.normalize(torch.stack(vectors, 1), dim=-1)

    def project(self, column: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        return self.layer_vectors(features).flatten(1) / len(self.vectors) ** 0.5

    def cut_out(self, pictures: Float[Tensor, "B 3 H W"], maps: Tensor) -> Float[Tensor, "B 3 H W"]:
        """Return pictures that are grey where the map has its first class."""
        return torch.where((maps == 0)[:, None], _GREY, pictures)

    def targets(self, batch: Batch) -> Embeddings:
        if not self.scaled:
            return {}
        return {APPEARANCE + self.map: self.judge(self.cut_out(batch[self.picture], batch[self.map]))}

    def encode(self, batch: Batch) -> Embeddings:
        return {
            self.picture: self.features(self.picture, batch[self.picture]),
            self.text: self.features(self.text, batch[self.text]),
        }

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        subjects, queries = batch.labels[self.label], z[self.picture]
        # A row without a subject is one of its own, whatever numbers others have.
        own = torch.where(subjects < 0, -1 - batch.ids, subjects)
        first = queries.view(len(queries), len(self.vectors) + 1, -1)[:, 0]
        w, u = (
            F.normalize(self.picture_head(first), dim=-1),
            F.normalize(self.name_head(z[self.text]), dim=-1),
        )
        same = own, own.new_zeros(len(own), 0)
        names = (self.semantic(u, w, None, None, same) + self.semantic(w, u, None, None, same)) / 2
        appearances = None
        if self.scaled:
            seen = z[APPEARANCE + self.map]
            appearances = F.normalize(seen - moments.mean(seen, ranks=Ranks.present()), dim=-1)
        layers = self.layer_vectors(queries).unbind(1)
        terms = torch.stack([self.contrast(s, labels=subjects, appearances=appearances) for s in layers])
        return {"text": self.weights["text"] * names, "appearance": self.weights["appearance"] * terms.mean()}

    def passes(self) -> dict[str, float]:
        return {"image": 1.0 + self.scaled, "text": 1.0}
