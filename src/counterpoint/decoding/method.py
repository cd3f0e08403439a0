"""The decoding method: branches beside the user's own input, their weights, and a plausibility rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Never, final

from jaxtyping import Bool
from torch import Tensor

from ..ranges import Checked
from .branch import Branch
from .chooser import Logits
from .combine import BranchWeights, plausible
from .generate import BoundDecoding


class Decoding(Checked, ABC):
    """A way to choose the next token from several branches; used as ``model.generate(**inputs, custom_generate=…)``.

    At every step the model runs once on the user's own input, which gives logits ``l``, and once on each further
    branch, which gives ``l_i`` after the same generated tokens. ``weights`` says how they add up, ``keep`` which
    tokens may be chosen; the user's own processors and warpers act on the result.

    Attributes:
        papers: slugs of the papers it comes from.
        beams: whether it can be used with beam search.
    """

    papers: ClassVar[tuple[str, ...]] = ()
    beams: ClassVar[bool] = True

    @abstractmethod
    def branches(self) -> tuple[Branch, ...]:
        """Return the further branches, in the order in which ``weights`` and ``keep`` see their logits."""

    @abstractmethod
    def weights(self, logits: Logits, others: Sequence[Logits]) -> BranchWeights:
        """Return the weights by which the branches' logits add up at one step."""

    @abstractmethod
    def keep(self, logits: Logits, others: Sequence[Logits]) -> Bool[Tensor, "b v"]:
        """Mark the tokens that may be chosen at one step."""

    @final
    def on(
        self, inputs: Mapping[str, Any], *, model: Any = None, streamer: Any = None, **branch_inputs: Any
    ) -> BoundDecoding:
        """Bind the method to the inputs that ``generate`` is called with.

        Args:
            inputs: what the processor made, pictures as pixels.
            model: needed only where the model's ``generate`` hands over to its language model (BLIP-2,
                InstructBLIP) and a branch holds a picture.
            streamer: gets the tokens as they are chosen. Since transformers 4.57 one that is passed to ``generate``
                is not handed on, and would wait for ever.
            branch_inputs: what the method needs beside: the inputs of further branches, or a description.

        Returns:
            what ``custom_generate=`` takes; after a call its ``cost`` says how many passes each branch took.

        Raises:
            ValueError: where something that the method needs is missing, or not known to it.
            ImportError: for a version of transformers in which ``custom_generate`` takes no callable.
        """
        return BoundDecoding(self, inputs, branch_inputs, model, streamer)

    def __add__(self, other: Decoding) -> Decoding:
        """Join two methods: ``l + (what one adds to l) + (what the other adds)``, over what both find plausible."""
        methods = [each.methods if isinstance(each, SumOfMethods) else (each,) for each in (self, other)]
        return SumOfMethods(tuple(chain(*methods)))

    @final
    def __call__(self, *args: Any, **options: Any) -> Never:
        """Raise an error: transformers would pass over what it cannot call, and decode plainly without a word."""
        name = type(self).__name__
        raise ValueError(f"{name} is not bound to inputs; pass custom_generate={name}(…).on(inputs)")


class Contrastive(Decoding):
    """A method whose plausibility is ``p(y) ≥ β·max_w p(w)`` on the user's own input; it has a field ``beta``."""

    beta: float

    def keep(self, logits: Logits, others: Sequence[Logits]) -> Bool[Tensor, "b v"]:
        return plausible(logits, self.beta)


@final
@dataclass(frozen=True)
class SumOfMethods(Decoding):
    """Several methods at once, as ``a + b`` makes it."""

    methods: tuple[Decoding, ...]

    @property
    def beams(self) -> bool:  # type: ignore[override] # a fact about its methods
        return all(method.beams for method in self.methods)

    def branches(self) -> tuple[Branch, ...]:
        return tuple(branch for method in self.methods for branch in method.branches())

    def weights(self, logits: Logits, others: Sequence[Logits]) -> BranchWeights:
        parts = [method.weights(logits, theirs) for method, theirs in self._each(others)]
        total = 1.0 + sum(part.total - 1.0 for part in parts)
        return BranchWeights([weight for part in parts for weight in part.others], total)

    def keep(self, logits: Logits, others: Sequence[Logits]) -> Bool[Tensor, "b v"]:
        first, *rest = (method.keep(logits, theirs) for method, theirs in self._each(others))
        for mask in rest:
            first = first & mask
        return first

    def _each(self, others: Sequence[Logits]) -> list[tuple[Decoding, Sequence[Logits]]]:
        pairs, start = [], 0
        for method in self.methods:
            end = start + len(method.branches())
            pairs.append((method, others[start:end]))
            start = end
        return pairs
