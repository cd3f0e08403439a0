"""Labels as a user asks methods to learn from them: which, and what is to be wrong with them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass as form

from ...forms import BelowOne, Count, Share, validated
from ...reasons import counted
from ...registry import unknown
from ...spec import Spec

if TYPE_CHECKING:
    from ...types import Kind

Ratio = Annotated[float, Field(ge=1, allow_inf_nan=False)]


@form(frozen=True, config=ConfigDict(extra="forbid"))
class Labelling:
    """A label that methods learn from, with what is wrong with it in rows to train on.

    >>> Labelling.parse("species, share=0.05").in_words
    'species of 5 % of the rows'
    >>> Labelling.parse("species,share=5")
    Traceback (most recent call last):
    ...
    ValueError: labels 'species,share=5': share must be at most 1, got '5'

    Attributes:
        label: of the data.
        share: of the rows that show the label, class by class where it is classes; at least one of each class or tag.
        noise: the share of those rows that show another class.
        kind: of noise: any other class, or the class whose mean is nearest to that of the true one.
        encoder: the model (`counterpoint.load`) whose embeddings the means of classes are of; small pictures unless
            given.
        imbalance: the ratio of the rows of the largest class to those of the smallest, between which classes are
            thinned exponentially, in the order of their sizes; the rows that are too many leave training.
        missing: the share of the tags that apply which seem not to, tag by tag; one row at least keeps each.
        shots: the number of training rows of each class; with tags, rows are taken in the order of the draw until
            each tag has that number. The seed of a run draws them, and all other rows leave training.
        known: the share of the cells of rows and tags that are known, which the seed of a run draws.
        fold, folds: the shots are divided into ``folds`` equal parts, of which part number ``fold`` is held out as the
            only test set; a search uses them.
        new: the share of the classes that leave training, by the hash of their names. They become a label of their own
            (`counterpoint.data.derived.new_classes`).
    """

    label: str
    share: Share = 1.0
    noise: BelowOne = 0.0
    kind: Literal["symmetric", "similar"] = "symmetric"
    encoder: str = ""
    imbalance: Ratio | None = None
    missing: BelowOne = 0.0
    shots: Count | None = None
    known: Share = 1.0
    fold: Count | None = None
    folds: Count | None = None
    new: BelowOne = 0.0

    @model_validator(mode="after")
    def _effective(self) -> Self:
        if not self.label or "=" in self.label:
            raise ValueError("first comes the label, then what is wrong with it: species,share=0.1")
        if self.kind == "similar" and not self.noise:
            raise ValueError("kind says which classes noise gives: say of how many rows, noise=0.2")
        if (self.missing or self.known < 1) and self.kinds == ("classes",):
            raise ValueError(
                "missing and known are of tags, and noise, imbalance and new are of classes: a label is one or the "
                "other"
            )
        if (self.fold is None) != (self.folds is None) or (self.fold or 1) > (self.folds or 1):
            raise ValueError("fold and folds go together, and fold is at most folds: fold=1,folds=4")
        if self.encoder and self.kind != "similar":
            raise ValueError("encoder says which classes are similar: add kind=similar")
        return self

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a label as it is written: ``LABEL``, then options such as ``share=``, ``noise=`` and ``kind=``.

        Raises:
            UnknownNameError: for an option that there is not; the message gives the nearest one.
            ValueError: for a value that an option cannot take, and for options that contradict each other.
        """
        spec = Spec.parse(text)
        known = [field.name for field in dataclasses.fields(cls) if field.name != "label"]
        for option, value in spec.options.items():
            if option == "least":
                raise ValueError(
                    f"labels {text!r}: how many examples a class needs is said of the data: --least {value}"
                )
            if option not in known:
                raise unknown("option of labels", option, known)
        return validated(cls, {"label": spec.name, **spec.options}, lambda name: f"labels {text!r}: {name}")

    @property
    def changes(self) -> bool:
        """True where anything is wrong with the label that is the same under every seed."""
        return self.share < 1 or self.noise > 0 or self.imbalance is not None or self.missing > 0

    @property
    def draws(self) -> bool:
        """True where the seed of a run draws which rows or cells show the label."""
        return self.shots is not None or self.known < 1 or self.folds is not None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds of labels that can be wrong in such a way; all of them if empty."""
        if self.noise or self.imbalance is not None or self.new:
            return ("classes",)
        return ("tags",) if self.missing or self.known < 1 else ()

    @property
    def in_words(self) -> str:
        """The label and what is wrong with it, as tables say what an arm learned from."""
        parts = [self.label if self.share == 1 else f"{self.label} of {_percent(self.share)} of the rows"]
        if self.noise:
            like = "that of a similar class" if self.kind == "similar" else "wrong"
            parts.append(f"{_percent(self.noise)} of them {like}")
        if self.imbalance is not None:
            parts.append(f"classes of {self.imbalance:g} to 1")
        if self.missing:
            parts.append(f"{_percent(self.missing)} of the tags missing")
        if self.new:
            parts.append(f"without {_percent(self.new)} of the classes")
        if self.known < 1:
            parts.append(f"{_percent(self.known)} of the cells known")
        if self.shots is not None:
            parts.append(f"{counted(self.shots, 'row')} of each")
        if self.folds is not None:
            parts.append(f"without part {self.fold} of {self.folds}")
        return ", ".join(parts)


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def label_of(text: str) -> str:
    """Return the label that a user names, without what is wrong with it; empty for none.

    >>> label_of("species,share=0.1"), label_of("")
    ('species', '')
    """
    return Labelling.parse(text).label if text else ""


def _normal(text: str) -> str:
    if text:
        Labelling.parse(text)
    return str(Spec.parse(text)) if text else ""


Labelled = Annotated[str, AfterValidator(_normal)]
"""A label with its options as text, checked, without spaces."""
