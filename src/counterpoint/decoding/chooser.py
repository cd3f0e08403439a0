"""The choice of the next token from several branches, as far as the engine asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from .branch import Branch
from .combine import BranchWeights

Logits = Float[Tensor, "b v"]


@runtime_checkable
class Chooser(Protocol):
    """Way to choose from branches: every method of decoding is one."""

    beams: ClassVar[bool]

    def branches(self) -> tuple[Branch, ...]: ...
    def weights(self, logits: Logits, others: Sequence[Logits]) -> BranchWeights: ...
    def keep(self, logits: Logits, others: Sequence[Logits]) -> Bool[Tensor, "b v"]: ...
