"""VCD: what a noisy picture still suggests is prior, not sight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from pydantic import Field

from ...forms import Fraction, NonNegative
from ..branch import Noisy
from ..chooser import Logits
from ..combine import BranchWeights
from ..method import Contrastive
from ..pictures import STEPS

Step = Annotated[int, Field(ge=0, lt=STEPS)]


@final
@dataclass(frozen=True)
class VisualContrastive(Contrastive):
    """``(1 + α)·l − α·l′``, l′ with the picture after T steps of diffusion noise.

    Attributes:
        alpha: of the contrast; 0 is plain decoding under the plausibility rule.
        beta: of the plausibility rule; 0 keeps every token.
        step: T in 0…999. At 500 the picture still has 0.86 of its amplitude.
        seed: of the noise, which is drawn once a picture and kept for the whole answer.

    Raises:
        ValueError: for a negative or infinite weight, a share outside [0, 1] or a step outside 0…999.

    Source: VCD (arXiv 2311.16922); defaults of its evaluation.

    >>> VisualContrastive(alpha=1.0, beta=0.1).branches()[0].name
    'noise'
    """

    papers: ClassVar[tuple[str, ...]] = ("vcd",)

    alpha: NonNegative = 1.0
    beta: Fraction = 0.1
    step: Step = 500
    seed: int = 0

    def branches(self) -> tuple[Noisy]:
        return (Noisy(self.step, self.seed),)

    def weights(self, logits: Logits, others: Sequence[Logits]) -> BranchWeights:
        return BranchWeights([-self.alpha])
