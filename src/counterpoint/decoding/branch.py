"""Branches, whose inputs are made from the user's: another prompt, a distorted picture, words in its place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

from .description import Description
from .pictures import blank, diffuse, patches, pixels, spell
from .running import BranchCall, BranchState, ConstantBranch, ForwardBranch


class Branch(ABC):
    """One more input beside the user's own.

    Attributes:
        name: what the cost report calls it.
        needs: the argument of ``on`` that it is made from, beside the inputs, if any.
    """

    name: str
    needs: ClassVar[str | None] = None

    @abstractmethod
    def open(self, call: BranchCall) -> BranchState:
        """Return the state of the branch at the start of a call."""


@final
@dataclass(frozen=True)
class GivenBranch(Branch):
    """Inputs that the user made, given to ``on`` by this branch's name."""

    name: str

    @property
    def needs(self) -> str:  # type: ignore[override] # its name
        return self.name

    def open(self, call: BranchCall) -> BranchState:
        return ForwardBranch(call, self.name, call.model, call.branch_inputs[self.name])


@final
@dataclass(frozen=True)
class Noisy(Branch):
    """The picture after some steps of diffusion noise, drawn once and kept for the whole answer."""

    step: int
    seed: int
    name: str = "noise"

    def open(self, call: BranchCall) -> BranchState:
        noisy = {
            key: diffuse(value, self.step, self.seed, **patches(key, call.inputs, call.model.config))
            for key, value in pixels(call.inputs, self.name).items()
        }
        return ForwardBranch(call, self.name, call.model, {**call.inputs, **noisy})


@final
@dataclass(frozen=True)
class Zeros(Branch):
    """A picture of zeros in the place of the picture: the mean colour, to a processor that normalises."""

    name: str = "zeros"

    def open(self, call: BranchCall) -> BranchState:
        empty = {key: blank(value) for key, value in pixels(call.inputs, self.name).items()}
        return ForwardBranch(call, self.name, call.model, {**call.inputs, **empty})


@final
@dataclass(frozen=True)
class TextOnly(Branch):
    """The prompt without its picture.

    Attributes:
        placeholder: ``"none"`` deletes the picture's tokens; ``"unk"`` puts one unknown token in the place of
            each run of them, not one a patch.
        unknown: the unknown token, for ``"unk"`` and for what another model lacks.
        model: another language model with the same tokens; else the user's own.
    """

    placeholder: Literal["none", "unk"] = "none"
    unknown: int = 0
    model: Any = None
    name: str = "text"

    def open(self, call: BranchCall) -> BranchState:
        word = [] if self.placeholder == "none" else [self.unknown]
        inputs = spell(call, self.name, lambda row, last: word)
        if self.model is None:
            return ForwardBranch(call, self.name, call.decoder, inputs)
        return ForwardBranch(call, self.name, self.model, inputs, self.unknown)


@final
@dataclass(frozen=True)
class DescriptionBranch(Branch):
    """The prompt with the description's words in the place of the picture's tokens, and no picture of earlier turns."""

    name: str = "description"
    needs: ClassVar[str] = "description"

    def open(self, call: BranchCall) -> BranchState:
        words = Description.of(call).words
        inputs = spell(call, self.name, lambda row, last: words[row] if last else [])
        return ForwardBranch(call, self.name, call.decoder, inputs)


@final
@dataclass(frozen=True)
class Support(Branch):
    """Log-probability of each token at the place in the description where the token was likeliest.

    Attributes:
        reduction: over the places: ``"max"``, ``"mean"`` or ``"sum"``.
    """

    reduction: Literal["max", "mean", "sum"] = "max"
    name: str = "support"
    needs: ClassVar[str] = "description"

    def open(self, call: BranchCall) -> BranchState:
        table = Description.of(call).support(self.reduction)
        return ConstantBranch(table.repeat_interleave(call.rows // call.prompts, 0))
