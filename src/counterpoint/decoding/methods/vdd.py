"""VDD: subtract what the model answers without a picture, or with a meaningless one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from ...forms import Fraction, NonNegative
from ...registry import unknown
from ..branch import Branch, Noisy, TextOnly, Zeros
from ..chooser import Logits
from ..combine import BranchWeights
from ..method import Contrastive
from ..pictures import STEPS


@final
@dataclass(frozen=True)
class VisualDebias(Contrastive):
    """``(1 + α)·l − α·mean_i l_i`` over image-free inputs i; the mean of logits, a geometric one of distributions.

    ==========  ================================================================
    ``none``    the picture's tokens are deleted, so that all text moves forward
    ``unk``     one unknown token for the picture, not one a patch
    ``noise``   the picture after 999 steps of diffusion noise
    ``zeros``   a picture of zeros
    ==========  ================================================================

    Attributes:
        without: which of them.
        alpha: of the contrast.
        beta: of the plausibility rule.
        unknown: the unknown token.
        seed: of the noise.

    Raises:
        UnknownNameError: for another image-free input.
        ValueError: for no image-free input.

    Source: VDD (arXiv 2403.05262).
    """

    papers: ClassVar[tuple[str, ...]] = ("vdd",)

    without: tuple[str, ...] = ("none",)
    alpha: NonNegative = 1.0
    beta: Fraction = 0.1
    unknown: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.without:
            raise ValueError("without=(): name at least one image-free input: none, unk, noise or zeros")
        self.branches()

    def branches(self) -> tuple[Branch, ...]:
        return tuple(image_free(name, self.unknown, self.seed) for name in self.without)

    def weights(self, logits: Logits, others: Sequence[Logits]) -> BranchWeights:
        return BranchWeights([-self.alpha / len(others)] * len(others))


def image_free(name: str, unknown_token: int = 0, seed: int = 0) -> Branch:
    """Return the image-free input of this name."""
    known: dict[str, Branch] = {
        "none": TextOnly("none", name="none"),
        "unk": TextOnly("unk", unknown_token, name="unk"),
        "noise": Noisy(STEPS - 1, seed),
        "zeros": Zeros(),
    }
    if name not in known:
        raise unknown("image-free input", name, known)
    return known[name]
