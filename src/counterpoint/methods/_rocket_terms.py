"""Losses between pictures and texts that the family of CLIP-rocket adds to the contrastive one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..losses import BarlowTwinsLoss, NegativeCosineLoss, SwALIPLoss, SwALIPPrototypesLoss
from ..networks.batch_norm import BatchNorm1d
from ..networks.heads import Prototypes, mlp
from ..pairwise import Temperature
from ..types import Embeddings, StepInfo


class CrossModalTerm(nn.Module, ABC):
    """A loss between the pictures and the texts of a batch, added to the contrastive one.

    Args:
        name: of the term in logs.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    @abstractmethod
    def forward(
        self, features: Embeddings, embeddings: Embeddings, targets: Embeddings, clock: StepInfo
    ) -> Float[Tensor, ""]:
        """Compute the loss.

        Args:
            features: what the towers gave, by view.
            embeddings: the unit-norm contrastive embeddings, by view (of the local head for local views).
            targets: what the momentum copy's ``project`` gave, by view; empty without one.
            clock: where the run stands.
        """


class TargetedTerm(CrossModalTerm):
    """A term whose targets a momentum copy of it may give."""

    @abstractmethod
    def project(self, features: Embeddings) -> Embeddings:
        """Return what serves as the target, for each view."""


class SiamLIPTerm(TargetedTerm):
    """Each modality predicts the projection of the other, which does not move.

        v = projector(features), p = predictor(v), D(p, v) = 2 − 2 mean_i <nz(p_i), nz(sg(v_i))>
        L = mean over the 1 + A² pairs of ( D(p_I, v_T) + D(p_T, v_I) ) / 2

    There is no image–image and no text–text term. Projectors and predictors are shared by the global and the
    local stream unless ``separate``; the projector's last batch norm never is.

    Args:
        widths: of the towers' features, by column.
        hidden, output: widths of projectors and predictors: of the hidden layer, and of what both give.
        name: of the term in logs.
        separate: whether the local stream has projectors and predictors of its own.
        last_norm: whether the projector ends in a batch norm (without scale and shift).
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        hidden: int,
        output: int,
        *,
        separate: bool = False,
        last_norm: bool = True,
        name: str = "siamlip",
    ) -> None:
        super().__init__(name)
        kinds = ("global", "local") if separate else ("global",)

        def per_modality(streams: tuple[str, ...], build: Callable[[str], nn.Module]) -> nn.ModuleDict:
            return nn.ModuleDict({s: nn.ModuleDict({m: build(m) for m in widths}) for s in streams})

        self.projector = per_modality(kinds, lambda m: mlp(widths[m], hidden, output, layers=2, bias=False))
        self.norm = per_modality(
            # One per stream even where the projector is shared: weak and strong views differ in their statistics.
            ("global", "local"),
            lambda m: BatchNorm1d(output, affine=False) if last_norm else nn.Identity(),
        )
        self.predictor = per_modality(kinds, lambda m: mlp(output, hidden, output, layers=2, bias="last"))
        self.distance = NegativeCosineLoss()

    def _of(self, heads: nn.ModuleDict, view: str) -> nn.Module:
        """Return a view's module: the image's predictor is the one from image to text, and so on."""
        modality, _, local = view.partition(".")
        stream = "local" if local and "local" in heads else "global"
        return heads.get_submodule(f"{stream}.{modality}")

    def project(self, features: Embeddings) -> Embeddings:
        return {
            view: self._of(self.norm, view)(self._of(self.projector, view)(f)) for view, f in features.items()
        }

    def forward(
        self, features: Embeddings, embeddings: Embeddings, targets: Embeddings, clock: StepInfo
    ) -> Float[Tensor, ""]:
        v = self.project(features)
        p = {view: F.normalize(self._of(self.predictor, view)(v[view]), dim=-1) for view in v}
        # Without a momentum copy the targets are our own projections, which the distance takes as constants.
        target = {view: F.normalize(t, dim=-1) for view, t in (targets or v).items()}
        distances = []
        for image, text in pairs(features):
            distances += [self.distance(p[image], target[text]), self.distance(p[text], target[image])]
        return torch.stack(distances).mean()


class BarLIPTerm(CrossModalTerm):
    """The cross-correlation of a picture's and a text's projection is driven to the identity.

        C = v_Iᵀ v_T / N
        L = mean over the 1 + A² pairs of 0.025 · [ Σ_k (C_kk − 1)² + 0.005 · Σ_{k≠l} C_kl² ]

    v is a three-layer projection whose last batch norm standardises it. With fewer samples than dimensions C
    has rank N, so small runs use a small projection (``output``).

    Args:
        widths: of the towers' features, by column.
        hidden, output: widths of the projectors: of the hidden layers, and of the projection.
        separate: whether the local stream has projectors of its own.
    """

    def __init__(
        self, widths: Mapping[str, int], hidden: int, output: int, *, separate: bool = False
    ) -> None:
        super().__init__("barlip")
        self.projector = nn.ModuleDict(
            {
                stream: nn.ModuleDict(
                    {
                        modality: mlp(width, hidden, output, last_norm="affine")
                        for modality, width in widths.items()
                    }
                )
                for stream in (("global", "local") if separate else ("global",))
            }
        )
        self.objective = BarlowTwinsLoss()

    def project(self, features: Embeddings) -> Embeddings:
        projected = {}
        for view, feature in features.items():
            modality, _, local = view.partition(".")
            stream = "local" if local and "local" in self.projector else "global"
            projected[view] = self.projector.get_submodule(f"{stream}.{modality}")(feature)
        return projected

    def forward(
        self, features: Embeddings, embeddings: Embeddings, targets: Embeddings, clock: StepInfo
    ) -> Float[Tensor, ""]:
        v = self.project(features)
        return torch.stack([self.objective(v[image], v[text]) for image, text in pairs(features)]).mean()


class PrototypeTerm(TargetedTerm):
    """Scores with K learned prototypes: a picture's are trained towards the code of its text, and vice versa.

        s = nz(projector(features)) ĉᵀ
        L = mean over the pairs of ½ [ H(Q(s_T), softmax(s_I/τ)) + H(Q(s_I), softmax(s_T/τ)) ]

    Codes Q are Sinkhorn–Knopp assignments, without gradient.

    Args:
        widths: of the towers' features, by column.
        hidden, output: widths of the projectors: of the hidden layer, and of what is scored.
        prototypes: K.
        shared: whether both modalities have the same prototypes.
        temperature: τ.
        frozen_steps: the prototypes do not move in the first steps.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        hidden: int,
        output: int,
        prototypes: int,
        *,
        shared: bool,
        temperature: Temperature,
        frozen_steps: int,
    ) -> None:
        super().__init__("swalip")
        self.projector = nn.ModuleDict(
            {m: mlp(width, hidden, output, layers=2) for m, width in widths.items()}
        )
        self.prototypes = nn.ModuleDict(
            {m: Prototypes(output, prototypes) for m in (("both",) if shared else tuple(widths))}
        )
        self.objective = SwALIPPrototypesLoss(temperature)
        self.frozen_steps = frozen_steps

    def project(self, features: Embeddings, *, frozen: bool = False) -> Embeddings:
        scores = {}
        for view, feature in features.items():
            modality = view.partition(".")[0]
            prototypes = self.prototypes["both" if "both" in self.prototypes else modality]
            scores[view] = prototypes(self.projector[modality](feature), frozen)
        return scores

    def forward(
        self, features: Embeddings, embeddings: Embeddings, targets: Embeddings, clock: StepInfo
    ) -> Float[Tensor, ""]:
        s = self.project(features, frozen=clock.step < self.frozen_steps)
        return torch.stack(
            [self.objective(s[i], s[t], targets.get(i), targets.get(t)) for i, t in pairs(features)]
        ).mean()


class SwALIPTerm(CrossModalTerm):
    """The prototype-free version, on the local embeddings: the other modality's batch are the centres.

    See `counterpoint.losses.SwALIPLoss`; the assignment for a pair of views comes from the other two views.

    Args:
        objective: the loss, which shares its temperature with the local stream.
    """

    def __init__(self, objective: SwALIPLoss) -> None:
        super().__init__("swalip")
        self.objective = objective

    def forward(
        self, features: Embeddings, embeddings: Embeddings, targets: Embeddings, clock: StepInfo
    ) -> Float[Tensor, ""]:
        one, other = (
            [z for name, z in embeddings.items() if name.startswith(f"{column}.")]
            for column in _columns(embeddings)
        )
        return self.objective(one, other)


def _columns(views: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(view.partition(".")[0] for view in views))


def pairs(views: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of views of two columns: the global one, then each local view of one with each of the other.

    >>> pairs(["image", "text", "image.1", "text.1"])
    [('image', 'text'), ('image.1', 'text.1')]
    """
    names = list(views)
    one, other = _columns(names)
    local = {column: [name for name in names if name.startswith(f"{column}.")] for column in (one, other)}
    return [(one, other), *((a, b) for a in local[one] for b in local[other])]
