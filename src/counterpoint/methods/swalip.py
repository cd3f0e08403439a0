"""SwALIP: balanced assignments of one modality are predicted from the other, added to CLIP."""

from __future__ import annotations

from typing import ClassVar, Unpack

from ..forms import Count, Fraction, Natural, NonNegative, Positive
from ..losses import SwALIPLoss
from ..networks.base import Towers
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ._rocket import RocketCLIP, RocketOptions, streams_of
from ._rocket_terms import CrossModalTerm, PrototypeTerm, SwALIPTerm
from .base import Ranges


class SwALIP(RocketCLIP):
    """L = L_CLIP + w · L_swa, with prototypes (`PrototypeTerm`) or without (`SwALIPTerm`).

    The version without prototypes swaps two local views, so it is the paper's under the improved recipe
    (``swalip-rocket``), and the one with prototypes under the basic recipe. Neither has label smoothing.

    Args:
        towers: the towers, by column.
        recipe: gives the widths of the contrastive heads.
        ssl_weight: w.
        prototypes: K; 0 for the version without. The paper's 3,000 are in the GPU recipes.
        hidden, output: widths of the projectors before the prototypes (the paper's are SiamLIP's).
        swalip_temperature: of the scores.
        learn_temperature: learn the temperature of the scores.
        shared_prototypes: give both modalities the same prototypes.
        frozen_steps: the prototypes do not move in the first steps.
        momentum: with a number m, codes come from a copy of the model that follows with momentum m.
        options: see `RocketCLIP`.

    Raises:
        ValueError: for smoothing other than 0, or without prototypes other than two views.

    Source: Fini et al., "Improved baselines for vision-language pre-training" (2023), arXiv 2305.08675.
    """

    family = "CLIP with self-supervision"
    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "ssl_weight": (0.05, 0.8)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        ssl_weight: NonNegative = 0.2,
        prototypes: Natural = 256,
        hidden: Count = 512,
        output: Count = 128,
        swalip_temperature: Positive = 0.1,
        learn_temperature: bool = False,
        shared_prototypes: bool = True,
        frozen_steps: Natural = 100,
        momentum: Fraction | None = None,
        **options: Unpack[RocketOptions],
    ) -> None:
        # Of the improved recipe too, which otherwise smooths.
        options = {"smoothing": 0.0, **options}
        streams = streams_of(options)
        if streams.smoothing != 0:
            raise ValueError(
                f"smoothing={streams.smoothing}: SwALIP is trained without label smoothing; leave it out"
            )
        term: CrossModalTerm | None = None
        if prototypes:
            term = PrototypeTerm(
                {column: tower.width for column, tower in towers.items()},
                hidden,
                output,
                prototypes,
                shared=shared_prototypes,
                temperature=Temperature(swalip_temperature, learnable=learn_temperature),
                frozen_steps=frozen_steps,
            )
        elif streams.views != 2:
            raise ValueError(
                f"views={streams.views}: SwALIP without prototypes swaps exactly two local views; "
                "leave views out, or give prototypes"
            )
        super().__init__(towers, recipe, term=term, ssl_weight=ssl_weight, momentum=momentum, **options)
        if term is None:  # last, since the term shares the temperature that the local stream has got by now
            self.term = SwALIPTerm(SwALIPLoss(self.objective.local.temperature))
