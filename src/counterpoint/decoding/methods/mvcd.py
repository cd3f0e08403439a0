"""MVCD: keep what in-context examples add to a model's answer, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Bool
from torch import Tensor

from ...forms import Fraction, Natural
from ..branch import GivenBranch
from ..chooser import Logits
from ..combine import BranchWeights, plausible
from ..method import Decoding


@final
@dataclass(frozen=True)
class ExampleContrastive(Decoding):
    """``l − l_zero``: l with in-context examples in the prompt, l_zero without; weights 1 and −1, no 1 + α.

    ``generate`` gets the prompt with the examples, ``.on(inputs, without_examples=zero_shot)`` both, examples and
    query in one format. No picture need enter the model: in the paper vision modules have put it into words. Where
    both prompts give the same logits the difference says nothing, and the step is plain decoding. It ends when
    the chosen token is the end token.

    Attributes:
        beta: of the plausibility rule (the paper's relative top), without which the difference degenerates.
        end: the end token, to end as the paper's code does: also where either prompt by itself would, whatever
            the difference prefers there.

    Source: contrastive-example decoding of MVCD (arXiv 2502.11751).
    """

    papers: ClassVar[tuple[str, ...]] = ("mvcd",)

    beta: Fraction = 0.1
    end: Natural | None = None

    def branches(self) -> tuple[GivenBranch]:
        return (GivenBranch("without_examples"),)

    def weights(self, logits: Logits, others: Sequence[Logits]) -> BranchWeights:
        same = (logits == others[0]).all(-1).float()
        return BranchWeights([same - 1.0], total=same)

    def keep(self, logits: Logits, others: Sequence[Logits]) -> Bool[Tensor, "b v"]:
        kept = plausible(logits, self.beta)
        if self.end is None:
            return kept
        ends = (logits.argmax(-1) == self.end) | (others[0].argmax(-1) == self.end)
        only = torch.arange(logits.shape[-1], device=logits.device) == self.end
        return torch.where(ends[:, None], only, kept)
