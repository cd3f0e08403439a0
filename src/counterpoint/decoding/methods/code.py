"""CODE: contrast the picture with the model's own description of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Bool, Float
from torch import Tensor

from ...forms import Fraction, NonNegative, Positive
from ..branch import DescriptionBranch
from ..chooser import Logits
from ..combine import BranchWeights, bounded_divergence, plausible
from ..method import Decoding


@final
@dataclass(frozen=True)
class DescriptionContrastive(Decoding):
    """``(1 + α_t)·l − α_t·l_d``, l_d with the description's words in the picture's place.

    Each step sets both the weight and the plausibility rule from the bounded divergence D of the two
    distributions: ``α_t = 1 − D`` and ``β_t = D``. Where both agree the contrast is full and nothing is left out;
    where they differ there is none, and only what the picture makes likeliest stays.

    The description is made once a picture: ``.on(inputs, description=describe(model, description_inputs))``.
    What it omits is promoted and what it makes up is suppressed, so it should be complete.

    Attributes:
        exponent: k of the divergence, not a weight; at 1 the rule almost never acts.
        alpha, beta: fixed values in place of those from the divergence, to see what that is worth.

    Raises:
        ValueError: for an exponent that is not positive, a negative weight or a share outside [0, 1].

    Source: CODE (arXiv 2406.01920).
    """

    papers: ClassVar[tuple[str, ...]] = ("code-decoding",)

    exponent: Positive = 0.2
    alpha: NonNegative | None = None
    beta: Fraction | None = None

    def branches(self) -> tuple[DescriptionBranch]:
        return (DescriptionBranch(),)

    def weights(self, logits: Logits, others: Sequence[Logits]) -> BranchWeights:
        if self.alpha is not None:
            return BranchWeights([-self.alpha])
        return BranchWeights([self._divergence(logits, others[0]) - 1.0])

    def keep(self, logits: Logits, others: Sequence[Logits]) -> Bool[Tensor, "b v"]:
        return plausible(logits, self._divergence(logits, others[0]) if self.beta is None else self.beta)

    def _divergence(self, logits: Logits, other: Logits) -> Float[Tensor, " b"]:
        return bounded_divergence(logits.softmax(-1), other.softmax(-1), self.exponent)
