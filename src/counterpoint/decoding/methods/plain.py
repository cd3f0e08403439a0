"""Plain decoding, and what the plausibility rule does to it alone: the baselines of every method here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from ...forms import Fraction
from ..chooser import Logits
from ..combine import BranchWeights
from ..method import Contrastive


@final
@dataclass(frozen=True)
class Plain(Contrastive):
    """``l``, under the plausibility rule: a method's mask without its contrast, at the cost of plain decoding.

    Attributes:
        beta: of the plausibility rule; 0 keeps every token, which is plain decoding.
    """

    beta: Fraction = 0.0

    def branches(self) -> tuple[()]:
        return ()

    def weights(self, logits: Logits, others: Sequence[Logits]) -> BranchWeights:
        return BranchWeights([])
