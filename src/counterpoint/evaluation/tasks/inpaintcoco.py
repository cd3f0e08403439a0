"""InpaintCOCO: pictures of which one thing was edited."""

from __future__ import annotations

from typing import final

from ...data.items import MinimalPairs
from ._squares import SINGLE, Answered, Answers, SquareTask, shares, three_scores


@final
class InpaintCOCO(SquareTask):
    """InpaintCOCO's scores: ``text``, ``image``, ``group``, and single decisions of either direction.

        text = [s(I₀, T₀) > s(I₀, T₁)] · [s(I₁, T₁) > s(I₁, T₀)]
        image = [s(I₀, T₀) > s(I₁, T₀)] · [s(I₁, T₁) > s(I₀, T₁)],   group = text · image

    ``text_single`` is the share of pictures that choose their caption, ``image_single`` the share of captions that
    choose their picture. Picture and caption 0 are the original ones, 1 the edited ones.

    Source: Rösch et al., "Enhancing Conceptual Understanding in Multimodal Contrastive Learning through Hard
    Negative Samples" (2024), arXiv 2403.02875.
    """

    family = "compositionality"
    name = "inpaintcoco"
    primary = "group"
    papers = ("inpaintcoco",)

    def answered(self, pictures: Answers, captions: Answers, items: MinimalPairs) -> Answered:
        outcomes, metrics = three_scores(pictures, captions)
        singles = {"text_single": pictures.mean(1), "image_single": captions.mean(1)}
        return outcomes | singles, metrics | shares(singles, dict.fromkeys(singles, SINGLE))
