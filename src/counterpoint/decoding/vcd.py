"""VCD: what a noisy picture still suggests is prior, not sight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from .branch import Noisy
from .chooser import Logits
from .combine import Weights
from .method import Contrastive, check_share, check_weight
from .pictures import STEPS


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

    alpha: float = 1.0
    beta: float = 0.1
    step: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        check_weight("alpha", self.alpha)
        check_share("beta", self.beta)
        if not 0 <= self.step < STEPS:
            raise ValueError(f"step={self.step}: must lie in 0 to {STEPS - 1}")

    def branches(self) -> tuple[Noisy]:
        return (Noisy(self.step, self.seed),)

    def weights(self, own: Logits, others: Sequence[Logits]) -> Weights:
        return Weights([-self.alpha])
