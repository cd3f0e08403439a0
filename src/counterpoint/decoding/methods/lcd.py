"""LCD: subtract what the language model expects, the more, the surer it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

from ...forms import Fraction, NonNegative
from ..branch import TextOnly
from ..chooser import Logits
from ..combine import BranchWeights, entropy
from ..method import Contrastive

LEAST_ENTROPY = 1e-3
"""In nats: bounds the weight where the language model has no doubt."""


@final
@dataclass(frozen=True)
class LanguageContrastive(Contrastive):
    """``(1 + α_t)·l − α_t·u``, u without the picture, ``α_t = α / H(u)``, H the entropy in nats.

    Attributes:
        alpha: of the contrast.
        beta: of the plausibility rule.
        by_entropy: whether the weight is divided by the entropy (at least 0.001 nats); else it is α throughout.
        language_model: a separate text model with the same tokens, as in the paper; without it the model's own
            language tower, from which the picture's tokens are taken. Tokens that it lacks are not contrasted,
            and it reads the unknown token for them.
        unknown: the unknown token of that model.

    Source: LCD (arXiv 2408.04664).
    """

    papers: ClassVar[tuple[str, ...]] = ("lcd",)

    alpha: NonNegative = 2.0
    beta: Fraction = 0.1
    by_entropy: bool = True
    language_model: Any = None
    unknown: int = 0

    def branches(self) -> tuple[TextOnly]:
        return (TextOnly(unknown=self.unknown, model=self.language_model),)

    def weights(self, logits: Logits, others: Sequence[Logits]) -> BranchWeights:
        if not self.by_entropy:
            return BranchWeights([-self.alpha])
        return BranchWeights([-self.alpha / entropy(others[0]).clamp(min=LEAST_ENTROPY)])
