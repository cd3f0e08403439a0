"""The plausibility rule of a method by itself: the baseline that keeps the rule's effect apart from the contrast's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from jaxtyping import Bool
from torch import Tensor

from .branch import Branch
from .chooser import Logits
from .combine import BranchWeights
from .method import Contrastive, Decoding, SumOfMethods
from .methods.plain import Plain


@final
@dataclass(frozen=True)
class PlausibilityOnly(Decoding):
    """``l`` over the tokens that another method keeps, for rules that look at its branches too.

    Attributes:
        method: whose rule it is.
    """

    method: Decoding

    @property
    def beams(self) -> bool:  # type: ignore[override] # a fact about its method
        return self.method.beams

    def branches(self) -> tuple[Branch, ...]:
        return self.method.branches()

    def weights(self, logits: Logits, others: Sequence[Logits]) -> BranchWeights:
        return BranchWeights([0.0] * len(others))

    def keep(self, logits: Logits, others: Sequence[Logits]) -> Bool[Tensor, "b v"]:
        return self.method.keep(logits, others)


def plausibility_only(method: Decoding) -> Decoding | None:
    """Return a method with contrast 0, which leaves its plausibility rule; None where that keeps every token.

    >>> from counterpoint.decoding import Ritual, VisualContrastive
    >>> plausibility_only(VisualContrastive(alpha=1.0, beta=0.1))
    Plain(beta=0.1)
    >>> plausibility_only(VisualContrastive(beta=0.1) + Ritual(beta=0.2))
    Plain(beta=0.2)
    """
    methods = method.methods if isinstance(method, SumOfMethods) else (method,)
    # Where the leading question is set apart the neutral one is read, by the rule too; plain decoding reads the lead.
    leads = any(branch.needs == "leading" for branch in method.branches())
    if leads or not all(isinstance(each, Contrastive) for each in methods):
        return PlausibilityOnly(method)
    beta = max(each.beta for each in methods if isinstance(each, Contrastive))
    return Plain(beta) if beta > 0 else None
