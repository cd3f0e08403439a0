"""SwALIP: balanced assignments of one modality are predicted from the other, added to CLIP."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from ...forms import NonNegative
from ...losses import SwALIPLoss, SwALIPPrototypesLoss
from ...networks.base import ImageTower, TextTower
from ...networks.heads import Prototypes, mlp
from ...pairwise import Temperature
from ...recipes.schema import Recipe
from ...types import Clock, Embeddings
from ..base import Ranges
from .global_local import (
    BasicOptions,
    CrossModalTerm,
    ImprovedOptions,
    RocketCLIP,
    improved,
    pairs,
)


class PrototypeTerm(CrossModalTerm):
    """Scores with K learned prototypes: a picture's are trained towards the code of its text, and vice versa.

        s = nz(projector(features)) ĉᵀ
        L = mean over the pairs of ½ [ H(Q(s_T), softmax(s_I/τ)) + H(Q(s_I), softmax(s_T/τ)) ]

    Codes Q are Sinkhorn–Knopp assignments, without gradient.

    Args:
        image, text: the towers, for their widths.
        recipe: gives ``siamlip_hidden``, ``siamlip_output`` (the paper's projectors have the same sizes) and
            ``swalip_prototypes``.
        shared: whether both modalities have the same prototypes.
        temperature: τ.
        frozen_steps: the prototypes do not move in the first steps.
    """

    name = "swalip"

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        shared: bool,
        temperature: Temperature,
        frozen_steps: int,
    ) -> None:
        super().__init__()
        widths = recipe.widths
        hidden, out = widths.siamlip_hidden, widths.siamlip_output
        self.projector = nn.ModuleDict(
            {m: mlp(tower.width, hidden, out, layers=2) for m, tower in (("image", image), ("text", text))}
        )
        self.prototypes = nn.ModuleDict(
            {
                m: Prototypes(out, widths.swalip_prototypes)
                for m in (("both",) if shared else ("image", "text"))
            }
        )
        self.objective = SwALIPPrototypesLoss(temperature)
        self.frozen_steps = frozen_steps

    def project(self, features: Embeddings, *, frozen: bool = False) -> Embeddings:
        scores = {}
        for view, feature in features.items():
            modality = view.partition(".")[0]
            prototypes = self.prototypes["both" if "both" in self.prototypes else modality]
            weights = {k: w.detach() if frozen else w for k, w in prototypes.named_parameters()}
            scores[view] = functional_call(prototypes, weights, (self.projector[modality](feature),))
        return scores

    def forward(
        self, features: Embeddings, embeddings: Embeddings, targets: Embeddings, clock: Clock
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

    name = "swalip"

    def __init__(self, objective: SwALIPLoss) -> None:
        super().__init__()
        self.objective = objective

    def forward(
        self, features: Embeddings, embeddings: Embeddings, targets: Embeddings, clock: Clock
    ) -> Float[Tensor, ""]:
        return self.objective(
            [embeddings["image.1"], embeddings["image.2"]], [embeddings["text.1"], embeddings["text.2"]]
        )


class SwALIP(RocketCLIP):
    """L = L_CLIP + w · L_swa with prototypes, under the basic recipe; see `CLIP` and `PrototypeTerm`.

    The prototype-free version needs two local views, so this is the clustering arm of the basic recipe.

    Args:
        image, text: the towers.
        recipe: gives the widths and the number of prototypes.
        ssl_weight: w.
        swalip_temperature: of the scores.
        learn_temperature: whether that is learned.
        shared_prototypes: whether both modalities have the same prototypes.
        frozen_steps: the prototypes do not move in the first steps.
        momentum: with a number m, codes come from a copy of the model that follows with momentum m.
        options: ``views`` (0) and ``temperature`` (0.07).

    Source: Fini et al., "Improved baselines for vision-language pre-training" (2023), arXiv 2305.08675.
    """

    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "ssl_weight": (0.05, 0.8)}

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        ssl_weight: NonNegative = 0.2,
        swalip_temperature: float = 0.1,
        learn_temperature: bool = False,
        shared_prototypes: bool = True,
        frozen_steps: int = 100,
        momentum: float | None = None,
        **options: Unpack[BasicOptions],
    ) -> None:
        term = PrototypeTerm(
            image,
            text,
            recipe,
            shared=shared_prototypes,
            temperature=Temperature(swalip_temperature, learnable=learn_temperature),
            frozen_steps=frozen_steps,
        )
        super().__init__(image, text, recipe, term=term, ssl_weight=ssl_weight, momentum=momentum, **options)


class SwALIPRocket(RocketCLIP):
    """L = L_CLIP-rocket (without smoothing) + w · L_swa without prototypes, under the improved recipe.

    Args:
        image, text: the towers.
        recipe: gives the widths and the dropout; its label smoothing is not used, since SwALIP forbids it.
        ssl_weight: w.
        options: see `RocketCLIP`.

    Raises:
        ValueError: for smoothing other than 0, or other than two views.

    Source: Fini et al., "Improved baselines for vision-language pre-training" (2023), arXiv 2305.08675.
    """

    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {
        "temperature": (0.03, 0.2),
        "local_temperature": (0.03, 0.3),
        "ssl_weight": (0.05, 0.8),
    }

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        ssl_weight: NonNegative = 0.2,
        **options: Unpack[ImprovedOptions],
    ) -> None:
        options = {"smoothing": 0.0, **options}
        if options["smoothing"] != 0:
            raise ValueError(
                f"smoothing={options['smoothing']}: SwALIP is trained without label smoothing; leave it out"
            )
        if options.get("views", 2) != 2:
            raise ValueError(f"views={options['views']}: SwALIP swaps exactly two local views; leave it out")
        super().__init__(image, text, recipe, ssl_weight=ssl_weight, **improved(recipe, options))
        # Last, since it shares the temperature that the local stream has got by now.
        self.term = SwALIPTerm(SwALIPLoss(self.objective.local.temperature))
