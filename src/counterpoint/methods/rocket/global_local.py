"""One global pair and A local views a side: the base of CLIP-rocket, of which CLIP is the case A = 0."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal, TypedDict

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...forms import NonNegative
from ...losses import GlobalLocalLoss
from ...networks import MomentumCopy
from ...networks.base import ImageTower, TextTower
from ...networks.heads import mlp
from ...networks.momentum import PREFIX
from ...pairwise import Temperature
from ...recipes.schema import Recipe
from ...types import Batch, Clock, Embeddings, View
from ..base import TwoTower
from ..dual.dual_encoder import linear_heads


class CrossModalTerm(nn.Module, ABC):
    """A loss between the pictures and the texts of a batch, added to the contrastive one."""

    name: ClassVar[str]

    def project(self, features: Embeddings) -> Embeddings:
        """Return what a momentum copy of the term gives for each view, to serve as the target."""
        raise NotImplementedError(f"{type(self).__name__} has no targets for a momentum copy to give")

    @abstractmethod
    def forward(
        self, features: Embeddings, embeddings: Embeddings, targets: Embeddings, clock: Clock
    ) -> Float[Tensor, ""]:
        """Compute the loss.

        Args:
            features: what the towers gave, by view.
            embeddings: the unit-norm contrastive embeddings, by view (of the local head for local views).
            targets: what the momentum copy's ``project`` gave, by view; empty without one.
            clock: where the run stands.
        """


class BasicOptions(TypedDict, total=False):
    """Options of every method under the basic recipe: A further weak pairs (0), and where τ starts (0.07)."""

    views: int
    temperature: float


class ImprovedOptions(TypedDict, total=False):
    """Options of every method under the improved recipe; `improved` has their defaults."""

    views: int
    temperature: float
    local_temperature: float
    separate_proj: bool
    reduction: Literal["mean", "sum"]
    smoothing: float
    dropout: float
    detach_proj: bool
    proj: Literal["linear", "mlp"]
    local_proj: Literal["linear", "mlp"]
    global_image: str
    local_image: str
    global_text: str
    local_text: str


def improved(recipe: Recipe, options: ImprovedOptions) -> ImprovedOptions:
    """The improved recipe of CLIP-rocket: smoothing and dropout as the recipe says, the rest as the paper."""
    defaults: ImprovedOptions = {
        "views": 2,
        "separate_proj": True,
        "reduction": "sum",
        "smoothing": recipe.augmentation.label_smoothing,
        "dropout": recipe.augmentation.local_text_dropout,
        "local_image": "strong",
        "global_text": "weak",
        "local_text": "strong",
    }
    return {**defaults, **options}


class RocketCLIP(TwoTower):
    """A weak global pair and A local views of each modality, contrasted stream by stream, and a further term.

        L = r · [ L_CLIP(z_I, z_T; s_g) + A · mean_{a,b} L_CLIP(h_I^a, h_T^b; s_h, ε) ] / (1 + A) + w · L_term

    z are the global heads, h the local ones; r is 1 for ``"mean"``, 2 for ``"sum"``. Global and local
    features never meet. With A = 0 this is CLIP, whatever the options of the local stream.

    Args:
        image, text: the towers. Each view is a forward pass of its own, so that batch statistics are per
            view.
        recipe: gives the widths: ``embedding``, ``local_hidden``.
        term: the further loss.
        ssl_weight: w.
        momentum: with a number m, the term's targets come from a copy of towers and term that follows with
            momentum m. (Copies of the contrastive heads, whose outputs nobody would read, are left out.)
        views: A.
        temperature: where the learned τ = 1/s_g starts, kept in [0.01, 1].
        local_temperature: the same for the local stream, if it has heads of its own.
        separate_proj: whether the local stream has its own heads and temperature.
        reduction: mean or sum of the two directions.
        smoothing: ε, of the local stream only.
        dropout: of the text tower's residual blocks, in the local stream only.
        detach_proj: whether the text's global head gets features without gradient.
        proj: the global heads: linear without bias, or three layers with batch norm.
        local_proj: the local heads.
        global_image, local_image, global_text, local_text: the augmentation of each view.

    Source: Fini et al., "Improved baselines for vision-language pre-training" (2023), arXiv 2305.08675.
    """

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        term: CrossModalTerm | None = None,
        ssl_weight: NonNegative = 1.0,
        momentum: float | None = None,
        views: int = 0,
        temperature: float = 0.07,
        local_temperature: float = 0.1,
        separate_proj: bool = False,
        reduction: Literal["mean", "sum"] = "mean",
        smoothing: float = 0.0,
        dropout: float = 0.0,
        detach_proj: bool = False,
        proj: Literal["linear", "mlp"] = "linear",
        local_proj: Literal["linear", "mlp"] = "mlp",
        global_image: str = "weak",
        local_image: str = "weak",
        global_text: str = "plain",
        local_text: str = "plain",
    ) -> None:
        super().__init__(image, text)
        if views < 0:
            raise ValueError(f"views={views}: the number of local views cannot be negative")
        self.views = {
            "image": View("image", global_image),
            "text": View("text", global_text),
            **{f"image.{a}": View("image", local_image) for a in range(1, views + 1)},
            **{f"text.{a}": View("text", local_text) for a in range(1, views + 1)},
        }
        self.local = {m: [f"{m}.{a}" for a in range(1, views + 1)] for m in ("image", "text")}
        self.dropout, self.detach_proj = dropout, detach_proj

        def heads(kind: Literal["linear", "mlp"]) -> nn.ModuleDict:
            width, hidden = recipe.widths.embedding, recipe.widths.local_hidden
            if kind == "linear":
                return nn.ModuleDict(linear_heads(image, text, width))
            return nn.ModuleDict(
                {m: mlp(t.width, hidden, width) for m, t in (("image", image), ("text", text))}
            )

        self.projections = heads(proj)
        self.local_projections = heads(local_proj) if separate_proj and views else None
        if self.local_projections is not None:
            self.heads = ("global", "local")
        tau = Temperature(temperature, bounds=(0.01, 1.0))
        self.objective = GlobalLocalLoss(
            tau,
            tau if self.local_projections is None else Temperature(local_temperature, bounds=(0.01, 1.0)),
            label_smoothing=smoothing,
            reduction=reduction,
        )
        self.term, self.ssl_weight = term, ssl_weight
        self.momentum: MomentumCopy | None = None
        if momentum is not None:
            if term is None:
                raise ValueError(f"momentum={momentum} is for the targets of a term, and there is none")
            self.momentum = MomentumCopy(nn.ModuleDict({"towers": self.towers, "term": term}), momentum)

    def encode(self, batch: Batch) -> Embeddings:
        return self._features(self.towers, batch)

    def _features(self, towers: nn.ModuleDict, batch: Batch) -> Embeddings:
        dropped = {"dropout": self.dropout} if self.dropout else {}
        return {
            name: towers[view.modality](batch[name], **(dropped if name in self.local["text"] else {}))
            for name, view in self.views.items()
        }

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        if self.momentum is None:
            return {}
        towers, term = (self.momentum.module.get_submodule(name) for name in ("towers", "term"))
        assert isinstance(towers, nn.ModuleDict)
        assert isinstance(term, CrossModalTerm)
        projected = term.project(self._features(towers, batch))
        return {PREFIX + name: target for name, target in projected.items()}

    def project(self, modality: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        heads = self.projections if head == "global" else self.local_projections
        assert heads is not None
        return heads[modality](features)

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        embeddings = {}
        for name, view in self.views.items():
            head = "local" if name in self.local[view.modality] and self.local_projections else "global"
            features = z[name].detach() if name == "text" and self.detach_proj else z[name]
            embeddings[name] = F.normalize(self.project(view.modality, features, head), dim=-1)
        losses: dict[str, Tensor] = {
            "clip": self.objective(
                embeddings["image"],
                embeddings["text"],
                [embeddings[name] for name in self.local["image"]],
                [embeddings[name] for name in self.local["text"]],
            )
        }
        if self.term is not None:
            views = {name: z[name] for name in self.views}
            targets = {k.removeprefix(PREFIX): v for k, v in z.items() if k.startswith(PREFIX)}
            losses[self.term.name] = self.ssl_weight * self.term(views, embeddings, targets, clock)
        return losses

    def after_step(self, z: Embeddings, batch: Batch, clock: Clock) -> None:
        super().after_step(z, batch, clock)
        if self.momentum is not None:
            self.momentum.update()

    def passes(self) -> dict[str, int]:
        copies = 1 if self.momentum is None else 2
        return {modality: copies * count for modality, count in super().passes().items()}


def pairs(views: Iterable[str]) -> list[tuple[str, str]]:
    """The image and the text view of every pair: the global one, then each local image with each local text.

    >>> pairs(["image", "text", "image.1", "text.1"])
    [('image', 'text'), ('image.1', 'text.1')]
    """
    names = list(views)
    local = {m: [name for name in names if name.startswith(f"{m}.")] for m in ("image", "text")}
    return [("image", "text"), *((a, b) for a in local["image"] for b in local["text"])]
