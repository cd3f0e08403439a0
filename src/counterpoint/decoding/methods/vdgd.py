"""VDGD: among likely tokens prefer those that the model's own description supports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from jaxtyping import Bool
from torch import Tensor

from ...forms import Positive, Share
from ..branch import Support
from ..chooser import Logits
from ..combine import BranchWeights, nucleus
from ..method import Decoding

_REDUCTIONS: dict[str, Literal["max", "mean", "sum"]] = {"min": "max", "avg": "mean", "sum": "sum"}


@final
@dataclass(frozen=True)
class DescriptionGrounded(Decoding):
    """Scores ``−K(v)`` in place of the logits, ``K(v) = min_j KL(onehot(v) ‖ q_j) = min_j −log q_j(v)``.

    q_j is the model's distribution at place j of its description, at temperature 1. Candidates are a nucleus of
    the answer's own distribution; among them the model's preference is lost, which is intended. An answer that
    needs words the description lacks (yes, no, sums) is penalised. With an empty description it is plain decoding.

    The prompt must hold the description, in the paper's words *"The input image is described as follows:
    {description} {question}"*: describe first, write the prompt with the text, then
    ``.on(inputs, description=description)``.

    Attributes:
        top_p: of the nucleus.
        temperature: of the distribution that the nucleus is of.
        reduction: over the places of the description: ``"min"``, ``"avg"`` or ``"sum"``.
        divided: divide K by the size of the vocabulary. The released code does, by the default reduction of its
            KL function, and then chooses all but uniformly in the nucleus; for comparison only.

    Raises:
        ValueError: for another reduction, a share outside (0, 1] or a temperature that is not positive.

    Source: VDGD (arXiv 2405.15683).
    """

    papers: ClassVar[tuple[str, ...]] = ("vdgd",)
    beams: ClassVar[bool] = False

    top_p: Share = 0.5
    temperature: Positive = 0.5
    reduction: Literal["min", "avg", "sum"] = "min"
    divided: bool = False

    def branches(self) -> tuple[Support]:
        return (Support(_REDUCTIONS[self.reduction]),)

    def weights(self, logits: Logits, others: Sequence[Logits]) -> BranchWeights:
        if not self.divided:
            return BranchWeights([1.0])
        described = (~self._empty(logits, others[0])).float()
        share = described / logits.shape[-1]
        return BranchWeights([share], total=1.0 - described + share)

    def keep(self, logits: Logits, others: Sequence[Logits]) -> Bool[Tensor, "b v"]:
        return nucleus(logits, self.top_p, self.temperature) | self._empty(logits, others[0])[:, None]

    def _empty(self, logits: Logits, support: Logits) -> Bool[Tensor, " b"]:
        """Find the rows where the branch knows no token: there the branch is the user's own."""
        return torch.eq(logits, support).all(-1)
