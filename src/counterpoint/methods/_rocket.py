"""One global pair and A local views a side, and a further loss: the one class of CLIP-rocket's family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypedDict, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import BelowOne, Fraction, Natural, NonNegative, Positive
from ..losses import GlobalLocalLoss
from ..modalities import MODALITIES
from ..networks import MomentumCopy
from ..networks.base import Tower, Towers
from ..networks.heads import mlp
from ..networks.state.momentum import PREFIX
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, View
from ._rocket_terms import CrossModalTerm, TargetedTerm
from .base import Ranges
from .dual_encoder import linear_heads
from .tower_method import TowerMethod, distinct


class RocketOptions(TypedDict, total=False):
    """Options of the whole family, see `RocketCLIP`; the recipe has the value of what is not given."""

    improved: bool
    views: Natural
    temperature: Positive
    local_temperature: Positive
    separate_proj: bool
    reduction: Literal["mean", "sum"]
    smoothing: BelowOne
    dropout: Fraction
    detach_proj: bool
    proj: Literal["linear", "mlp"]
    local_proj: Literal["linear", "mlp"]
    global_image: str
    local_image: str
    global_text: str
    local_text: str


@dataclass(frozen=True)
class _Streams:
    """The global and the local stream of a recipe."""

    views: int
    separate_proj: bool
    reduction: Literal["mean", "sum"]
    smoothing: float
    local_image: str
    global_text: str
    local_text: str
    dropout: float = 0.0
    temperature: float = 0.07
    local_temperature: float = 0.1
    detach_proj: bool = False
    proj: Literal["linear", "mlp"] = "linear"
    local_proj: Literal["linear", "mlp"] = "mlp"
    global_image: str = "weak"


_BASIC = _Streams(
    views=0,
    separate_proj=False,
    reduction="mean",
    smoothing=0.0,
    local_image="weak",
    global_text="plain",
    local_text="plain",
)
_IMPROVED = _Streams(
    views=2,
    separate_proj=True,
    reduction="sum",
    smoothing=0.1,
    local_image="strong",
    global_text="weak",
    local_text="strong",
)


def streams_of(options: RocketOptions) -> _Streams:
    """Return the streams that options come to, under the recipe that the options name.

    >>> streams_of({"improved": True, "reduction": "mean"}).views
    2
    """
    stated = {name: value for name, value in options.items() if name != "improved"}
    return replace(_IMPROVED if options.get("improved") else _BASIC, **stated)  # type: ignore[arg-type] # keys of the dict


def _views(column: str, tower: Tower, streams: _Streams) -> tuple[View, View]:
    """Return the global and the local look at a column: as the options say of pictures and texts, else as usual."""
    kind = MODALITIES.get(tower.modality)
    stated = {
        "image": (streams.global_image, streams.local_image),
        "text": (streams.global_text, streams.local_text),
    }
    wide, local = stated.get(kind.name, (kind.paired, kind.contrasted))
    return View(kind.name, wide, column), View(kind.name, local, column)


class RocketCLIP(TowerMethod):
    """A weak global pair and A local views of each modality, contrasted stream by stream, and a further term.

        L = r · [ L_CLIP(z_I, z_T; s_g) + A · mean_{a,b} L_CLIP(h_I^a, h_T^b; s_h, ε) ] / (1 + A) + w · L_term

    z are the global heads, h the local ones; r is 1 for ``"mean"``, 2 for ``"sum"``. Global and local
    features never meet. With A = 0 this is CLIP, whatever the options of the local stream.

    The paper compares every further loss under two recipes. The basic one has A = 0, or A further weak pairs on the
    same heads. The improved one (``improved``, written ``NAME-rocket`` for short) has two strongly augmented local
    views with heads, temperature, smoothing and text dropout of their own, and sums both directions.

    Args:
        towers: the towers, by column. Each view is a forward pass of its own, so that batch statistics are per
            view.
        recipe: gives the widths: ``embedding``, ``local_hidden``.
        term: the further loss.
        ssl_weight: w.
        momentum: with a number m, the term's targets come from a copy of towers and term that follows with
            momentum m. (Copies of the contrastive heads, whose outputs nobody would read, are left out.)
        options: the options that follow; in brackets the values under the basic and the improved recipe.
        improved: use the improved recipe.
        views: A (0; 2).
        temperature: where the learned τ = 1/s_g starts, kept in [0.01, 1] (0.07).
        local_temperature: the same for the local stream, if the stream has heads of its own (0.1).
        separate_proj: give the local stream heads and temperature of its own (false; true).
        reduction: mean or sum of the two directions (mean; sum).
        smoothing: ε, of the local stream only (0; 0.1).
        dropout: of the text tower's residual blocks, in the local stream only (0).
        detach_proj: give the text's global head features without gradient (false).
        proj: the global heads: linear without bias, or three layers with batch norm (linear).
        local_proj: the local heads (mlp).
        global_image, local_image, global_text, local_text: the augmentation of each view (weak, weak, plain, plain;
            weak, strong, weak, strong).

    Source: Fini et al., "Improved baselines for vision-language pre-training" (2023), arXiv 2305.08675.
    """

    @classmethod
    def searched(cls, options: Mapping[str, object]) -> Ranges:
        of_streams = {name: value for name, value in options.items() if name in RocketOptions.__annotations__}
        streams = streams_of(of_streams)  # type: ignore[arg-type] # those of the dict alone
        own_scale = streams.separate_proj and streams.views > 0
        return {**cls.tunable, **({"local_temperature": (0.03, 0.3)} if own_scale else {})}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        term: CrossModalTerm | None = None,
        ssl_weight: NonNegative = 1.0,
        momentum: Fraction | None = None,
        **options: Unpack[RocketOptions],
    ) -> None:
        super().__init__(towers)
        self.order = tuple(towers)
        streams = streams_of(options)
        views = streams.views
        looks = {column: _views(column, tower, streams) for column, tower in towers.items()}
        self.local = {column: [f"{column}.{a}" for a in range(1, views + 1)] for column in towers}
        self.views = {column: wide for column, (wide, _) in looks.items()}
        self.views |= {name: looks[column][1] for column, names in self.local.items() for name in names}
        self.dropout, self.detach_proj = streams.dropout, streams.detach_proj

        def heads(kind: Literal["linear", "mlp"]) -> nn.ModuleDict:
            width, hidden = recipe.widths.embedding, recipe.widths.local_hidden
            if kind == "linear":
                return nn.ModuleDict(linear_heads(towers, width))
            return nn.ModuleDict({name: mlp(t.width, hidden, width) for name, t in distinct(towers).items()})

        self.projections = heads(streams.proj)
        self.local_projections = heads(streams.local_proj) if streams.separate_proj and views else None
        if self.local_projections is not None:
            self.heads = ("global", "local")
        tau = Temperature(streams.temperature, bounds=(0.01, 1.0))
        separate = self.local_projections is not None
        self.objective = GlobalLocalLoss(
            tau,
            # The same object without heads of its own: one parameter learns from both streams.
            Temperature(streams.local_temperature, bounds=(0.01, 1.0)) if separate else tau,
            label_smoothing=streams.smoothing,
            reduction=streams.reduction,
        )
        self.term, self.ssl_weight = term, ssl_weight
        self.momentum: MomentumCopy | None = None
        if momentum is not None:
            if not isinstance(term, TargetedTerm):
                raise ValueError(
                    f"momentum={momentum} is for the targets of a term, and there is none that has any"
                )
            # Not of the contrastive heads: nobody would read what they give.
            self.momentum = MomentumCopy(nn.ModuleDict({"towers": self.towers, "term": term}), momentum)

    def encode(self, batch: Batch) -> Embeddings:
        return self._features(self.towers, batch)

    def _features(self, towers: nn.ModuleDict, batch: Batch) -> Embeddings:
        features = {}
        for name, view in self.views.items():
            local = name in self.local[view.column] and self.tower(view.column).takes_dropout
            dropped = {"dropout": self.dropout} if self.dropout and local else {}
            # View by view and not in one batch: weak and strong views have batch statistics of their own.
            features[name] = towers[self.columns[view.column]](batch[name], **dropped)
        return features

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        if self.momentum is None:
            return {}
        towers, term = (self.momentum.module.get_submodule(name) for name in ("towers", "term"))
        assert isinstance(towers, nn.ModuleDict)
        assert isinstance(term, TargetedTerm)
        projected = term.project(self._features(towers, batch))
        return {PREFIX + name: target for name, target in projected.items()}

    def project(self, column: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        heads = self.projections if head == "global" else self.local_projections
        assert heads is not None
        return heads[self.columns[column]](features)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        embeddings = {}
        for name, view in self.views.items():
            head = "local" if name in self.local[view.column] and self.local_projections else "global"
            detached = self.detach_proj and name == self.order[1]
            features = z[name].detach() if detached else z[name]
            embeddings[name] = F.normalize(self.project(view.column, features, head), dim=-1)
        one, other = self.order
        losses: dict[str, Tensor] = {
            "clip": self.objective(
                embeddings[one],
                embeddings[other],
                [embeddings[name] for name in self.local[one]],
                [embeddings[name] for name in self.local[other]],
            )
        }
        if self.term is not None:
            views = {name: z[name] for name in self.views}
            targets = {k.removeprefix(PREFIX): v for k, v in z.items() if k.startswith(PREFIX)}
            losses[self.term.name] = self.ssl_weight * self.term(views, embeddings, targets, clock)
        return losses

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        if self.momentum is not None:
            self.momentum.update()

    def passes(self) -> dict[str, float]:
        copies = 1 if self.momentum is None else 2
        return {modality: copies * count for modality, count in super().passes().items()}
