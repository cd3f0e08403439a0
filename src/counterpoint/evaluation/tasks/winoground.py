"""Winoground: two pictures and two captions of the same words."""

from __future__ import annotations

from typing import final

from ...data.items import MinimalPairs
from ._squares import Answered, Answers, SquareTask, three_scores


@final
class Winoground(SquareTask):
    """Winoground's scores: ``text``, ``image`` and ``group``.

    Source: Thrush et al., "Winoground: Probing Vision and Language Models for Visio-Linguistic Compositionality"
    (2022), arXiv 2204.03162.
    """

    family = "compositionality"
    name = "winoground"
    primary = "group"

    def answered(self, pictures: Answers, captions: Answers, items: MinimalPairs) -> Answered:
        return three_scores(pictures, captions)
