"""CompA: two sounds and two captions."""

from __future__ import annotations

from typing import final

from ...data.items import MinimalPairs
from ._squares import Answered, Answers, SquareTask, three_scores


@final
class CompA(SquareTask):
    """CompA's scores on two sounds and two captions: ``text``, ``audio`` and ``group``.

    ``text``: each sound chooses its caption. ``audio``: each caption chooses its sound. Sounds reach the embedder as
    pictures of their spectrograms.

    A bag of words scores 0 where two captions share their words, which is below chance.

    Source: Ghosh et al., "CompA: Addressing the Gap in Compositional Reasoning in Audio-Language Models" (2023),
    arXiv 2310.08753.
    """

    family = "compositionality"
    name = "compa"
    primary = "group"
    papers = ("compa",)

    def answered(self, pictures: Answers, captions: Answers, items: MinimalPairs) -> Answered:
        return three_scores(pictures, captions, "audio")
