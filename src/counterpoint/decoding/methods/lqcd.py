"""LQCD: subtract what a leading question makes the model say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from ...forms import Fraction, NonNegative
from ..branch import GivenBranch
from ..chooser import Logits
from ..combine import BranchWeights
from ..method import Contrastive


@final
@dataclass(frozen=True)
class LeadingQueryContrastive(Contrastive):
    """``(1 + α)·l − α·l_lead``: l under the neutral question, l_lead under the same question with a lead.

    ``generate`` gets the neutral question, ``.on(neutral, leading=leading)`` both; instructions on the form of the
    answer belong in both. Half of the gain over the leading question is having the neutral one (α = 0).
    A lead that is right is subtracted too.

    Attributes:
        alpha: of the contrast.
        beta: of the plausibility rule, on the neutral question.

    Source: LQCD (arXiv 2408.11261); its defaults are not known, these are VCD's.
    """

    papers: ClassVar[tuple[str, ...]] = ("lqcd",)

    alpha: NonNegative = 1.0
    beta: Fraction = 0.1

    def branches(self) -> tuple[GivenBranch]:
        return (GivenBranch("leading"),)

    def weights(self, logits: Logits, others: Sequence[Logits]) -> BranchWeights:
        return BranchWeights([-self.alpha])
