"""BiVLC: choices of captions and of pictures, one of them generated."""

from __future__ import annotations

from typing import final

from ...data.items import MinimalPairs
from ...types import Metric
from ..statistic import magnitude
from ._squares import BOTH, GROUP, SINGLE, Answered, Answers, SquareTask, both, shares


@final
class BiVLC(SquareTask):
    """BiVLC's scores: the four decisions, ``i2t`` (both pictures), ``t2i`` (both captions) and ``group``.

        i2t = [s(I₀, T₀) > s(I₀, T₁)] · [s(I₁, T₁) > s(I₁, T₀)]
        t2i = [s(I₀, T₀) > s(I₁, T₀)] · [s(I₁, T₁) > s(I₀, T₁)],   group = i2t · t2i

    ``picture_gap`` is how much more often one of the two pictures wins by itself: \\|mean(caption_0 − caption_1)\\|,
    0 at best. Where pictures 0 are photographs and pictures 1 are generated, a model that prefers photographs has
    caption 0 right and caption 1 wrong.

    Source: Miranda et al., "BiVLC: Extending Vision-Language Compositionality Evaluation with Text-to-Image
    Retrieval" (2024), arXiv 2406.09952.
    """

    family = "compositionality"
    name = "bivlc"
    primary = "group"
    papers = ("bivlc",)

    def answered(self, pictures: Answers, captions: Answers, items: MinimalPairs) -> Answered:
        i2t, t2i = both(pictures), both(captions)
        outcomes = {f"picture_{i}": pictures[:, i] for i in (0, 1)}
        outcomes |= {f"caption_{i}": captions[:, i] for i in (0, 1)}
        chances = dict.fromkeys(outcomes, SINGLE) | {"i2t": BOTH, "t2i": BOTH, "group": GROUP}
        outcomes |= {"i2t": i2t, "t2i": t2i, "group": i2t & t2i}
        metrics = shares(outcomes, chances)
        outcomes["picture_gap"] = captions[:, 0].astype(float) - captions[:, 1]
        metrics["picture_gap"] = Metric(
            "picture_gap", magnitude, higher_is_better=False, chance=0.0, bounds=(0.0, 1.0)
        )
        return outcomes, metrics
