"""Labels of rows: what is told of every example beside its columns, of one of five kinds."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from mmap import mmap
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, TypeVar, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from ..reasons import counted
from ..registry import unknown
from ..types import Kind

Rows = Int[np.ndarray, " n"]
Values = Shaped[np.ndarray, "N ..."]
"""Values of every row, as `Label.values` of its kind holds them."""

MOST_CLASSES = 200
"""Classes of a label that a column of a table is, at most; the fewest are two."""
LEAST: Mapping[Kind, int] = MappingProxyType({"classes": 2, "tags": 5})
"""Examples of a class or a tag, at least, unless another number is given; rarer ones are left out."""
UNSURE = "?"
"""The mark before a tag of which it is not known whether it applies, in texts."""
_BLOCK = 2**16


class Rare(NamedTuple):
    """The classes or tags of a label that are left out, as they have too few examples.

    >>> str(Rare(3, 4, 5, "tags"))
    '3 tags of fewer than 5 examples left out'

    Attributes:
        names: their number.
        examples: the number of their examples.
        least: the number of examples that a class or a tag needs.
        kind: of the label.
    """

    names: int
    examples: int
    least: int
    kind: Kind

    def __str__(self) -> str:
        one = {"classes": "class", "tags": "tag"}[self.kind]
        return f"{counted(self.names, one)} of fewer than {self.least} examples left out"


@dataclass(frozen=True)
class Label(ABC):
    """Something that is told of every row, of one kind.

    Attributes:
        kind: what it is, in a word.
        names: of its classes or tags, in the order of their numbers; none of other kinds.
        values: of every row.
        rare: the classes or tags that are left out; None where all are here, and of other kinds.
    """

    kind: ClassVar[Kind]
    names: tuple[str, ...]
    values: Values
    rare: Rare | None = field(default=None, kw_only=True)

    @property
    @abstractmethod
    def known(self) -> Bool[np.ndarray, " N"]:
        """The rows of which something is known."""

    @property
    @abstractmethod
    def contents(self) -> str:
        """Its contents, in a few words."""

    @abstractmethod
    def texts(self, rows: Rows) -> list[str | None]:
        """Return the values of some rows as a table holds them; None where nothing is known."""

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps a file itself: its content would be sent to it row by row.
        values = self.values
        if isinstance(values, np.memmap) and isinstance(values.base, mmap):  # the whole file
            return {**self.__dict__, "values": Path(values.filename)}
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        values = state["values"]
        self.__dict__.update(state, values=np.load(values, "r") if isinstance(values, Path) else values)

    def tensor(self, rows: Rows) -> Tensor:
        """Return the values of some rows as `counterpoint.types.Batch.labels` holds them."""
        values = torch.from_numpy(self.values[rows])
        return values.float() if values.is_floating_point() else values

    def digest_parts(self) -> Iterator[bytes]:
        """Yield what tells it from other labels of its name."""
        yield self.kind.encode()
        yield "\0".join(self.names).encode("utf-8", "surrogatepass")
        whole = np.issubdtype(self.values.dtype, np.integer)
        yield np.asarray(self.values, dtype="<i8" if whole else "<f8").tobytes()


SomeLabel = TypeVar("SomeLabel", bound=Label)


@final
@dataclass(frozen=True)
class Classes(Label):
    """One way to classify the examples, with what zero-shot classification needs to name the classes.

    Attributes:
        names: readable class names; a class is its position here.
        values: the class of every row, −1 where the row has none, or one that is left out.
        templates: sentences with one ``{}`` for the class name; none for a label that says nothing of what an example
            shows or means, which tasks ask about where it is named alone.
    """

    kind: ClassVar[Kind] = "classes"
    names: tuple[str, ...]
    values: Int[np.ndarray, " N"]
    templates: tuple[str, ...] = ("{}",)

    @property
    def known(self) -> Bool[np.ndarray, " N"]:
        return self.values >= 0

    @property
    def contents(self) -> str:
        return _with_rare(f"{len(self.names)} classes", self.rare)

    def texts(self, rows: Rows) -> list[str | None]:
        return [self.names[value] if value >= 0 else None for value in self.values[rows].tolist()]


@final
@dataclass(frozen=True)
class Tags(Label):
    """Words of which several may apply to an example at once.

    Attributes:
        names: of the tags.
        values: of every row and tag 1 where it applies, 0 where it does not, −1 where that is not known.

    Raises:
        ValueError: if no tag applies to any row.

    >>> tags = Tags.of([["red", "round"], [], None, ["?red"]])
    >>> tags.names, tags.values.tolist()
    (('red', 'round'), [[1, 1], [0, 0], [-1, -1], [-1, 0]])
    >>> tags.texts(np.arange(4))
    ['["red", "round"]', '[]', None, '["?red"]']
    """

    kind: ClassVar[Kind] = "tags"
    values: Int[np.ndarray, "N C"]

    def __post_init__(self) -> None:
        if not any((block == 1).any() for block in _blocks(self.values)):
            raise ValueError("no row has any of its tags")

    @classmethod
    def of(cls, rows: Iterable[Iterable[str] | None]) -> Tags:
        """Return tags from lists of them; None for a row of which none is known, `UNSURE` before a single one."""
        listed = [None if row is None else [*row] for row in rows]
        names = tuple(sorted({tag.removeprefix(UNSURE) for row in listed if row for tag in row}))
        return cls(names, tag_values(listed, names))

    @property
    def known(self) -> Bool[np.ndarray, " N"]:
        return np.concatenate(
            [np.zeros(0, bool), *((block >= 0).any(axis=1) for block in _blocks(self.values))]
        )

    @property
    def contents(self) -> str:
        return _with_rare(f"{len(self.names)} tags", self.rare)

    def texts(self, rows: Rows) -> list[str | None]:
        marks = {1: "", -1: UNSURE}
        return [
            json.dumps(
                [marks[value] + name for name, value in zip(self.names, row, strict=True) if value],
                ensure_ascii=False,
            )
            if known
            else None
            for row, known in zip(self.values[rows].tolist(), self.known[rows], strict=True)
        ]


@final
@dataclass(frozen=True)
class Numbers(Label):
    """A number of every example.

    Attributes:
        values: of every row, NaN where it is not known.

    Raises:
        ValueError: if none is known, or one is infinite.
    """

    kind: ClassVar[Kind] = "numbers"
    names: tuple[str, ...] = field(default=(), init=False)
    values: Float[np.ndarray, " N"]

    def __post_init__(self) -> None:
        if np.isinf(self.values).any():
            raise ValueError(f"row {int(np.isinf(self.values).argmax()) + 1} is infinite")
        if not self.known.any():
            raise ValueError("the number of every row is NaN")

    @property
    def known(self) -> Bool[np.ndarray, " N"]:
        return ~np.isnan(self.values)

    @property
    def contents(self) -> str:
        known = self.values[self.known]
        return f"numbers from {known.min():g} to {known.max():g}"

    def texts(self, rows: Rows) -> list[str | None]:
        return [
            repr(value) if known else None
            for value, known in zip(self.values[rows].tolist(), self.known[rows], strict=True)
        ]


@final
@dataclass(frozen=True)
class Points(Label):
    """A point in the picture of every example.

    Attributes:
        values: x and y of every row as shares of width and height of the whole upright picture, from its upper left
            corner on, in [0, 1]; NaN where they are not known.

    Raises:
        ValueError: if no point is known, or one lies outside.
    """

    kind: ClassVar[Kind] = "points"
    names: tuple[str, ...] = field(default=(), init=False)
    values: Float[np.ndarray, "N 2"]

    def __post_init__(self) -> None:
        outside = ((self.values < 0) | (self.values > 1)).any(axis=1)
        if outside.any():
            row = int(outside.argmax())
            x, y = self.values[row]
            raise ValueError(
                f"the point of row {row + 1} lies at ({x:g}, {y:g}), outside [0, 1]: give shares of width and height"
            )
        if not self.known.any():
            raise ValueError("the point of every row is NaN")

    @property
    def known(self) -> Bool[np.ndarray, " N"]:
        return ~np.asarray(np.isnan(self.values).any(axis=1))

    @property
    def contents(self) -> str:
        return "points"

    def texts(self, rows: Rows) -> list[str | None]:
        return [
            json.dumps(value) if known else None
            for value, known in zip(self.values[rows].tolist(), self.known[rows], strict=True)
        ]


@final
@dataclass(frozen=True)
class Timelines(Label):
    """A number for each of some places in time of every example, which are evenly spread over it.

    Places are frames of a clip, or sentences of a transcript. A number is 1 or 0 where something holds at a place or
    not, or a strength.

    Attributes:
        values: of every row, NaN where a number is not known and behind the last place of the row.

    Raises:
        ValueError: if no number is known, or one is infinite.
    """

    kind: ClassVar[Kind] = "timelines"
    names: tuple[str, ...] = field(default=(), init=False)
    values: Float[np.ndarray, "N T"]

    def __post_init__(self) -> None:
        if np.isinf(self.values).any():
            raise ValueError(
                f"row {int(np.isinf(self.values).any(axis=1).argmax()) + 1} has an infinite number"
            )
        if not self.known.any():
            raise ValueError("every number of every row is NaN")

    @classmethod
    def of(cls, rows: Iterable[Sequence[float] | None]) -> Timelines:
        """Return timelines from lists of numbers; None for a row of which none is known.

        >>> Timelines.of([[1, 0, 1], None, [0]]).values.tolist()
        [[1.0, 0.0, 1.0], [nan, nan, nan], [0.0, nan, nan]]
        """
        listed = [() if row is None else row for row in rows]
        values = np.full((len(listed), max([1, *map(len, listed)])), np.nan)
        for of_row, row in zip(values, listed, strict=True):
            of_row[: len(row)] = row
        return cls(values)

    @property
    def known(self) -> Bool[np.ndarray, " N"]:
        return np.asarray(~np.isnan(self.values).all(axis=1))

    @property
    def contents(self) -> str:
        return f"timelines of up to {counted(self.values.shape[1], 'place')}"

    def texts(self, rows: Rows) -> list[str | None]:
        return [
            json.dumps([None if np.isnan(it) else it for it in values]) if known else None
            for values, known in zip(self.values[rows].tolist(), self.known[rows], strict=True)
        ]


def label_of(
    kind: Kind,
    names: Sequence[str],
    values: Values,
    templates: Sequence[str] = ("{}",),
    rare: Rare | None = None,
) -> Label:
    """Return a label of a kind.

    Args:
        kind: of the label.
        names: of its classes or tags; none of other kinds.
        values: of every row.
        templates: of classes.
        rare: the classes or tags that are left out.

    Raises:
        ValueError: for values that its kind cannot have.
    """
    if kind == "classes":
        return Classes(tuple(names), values, tuple(templates), rare=rare)
    if kind == "tags":
        return Tags(tuple(names), values, rare=rare)
    plain: dict[Kind, type[Numbers | Points | Timelines]] = {
        "numbers": Numbers,
        "points": Points,
        "timelines": Timelines,
    }
    return plain[kind](values)


def unknown_values(kind: Kind, names: int, rows: int) -> Values:
    """Return the values of rows of which nothing is known, for a label of a kind and so many names.

    >>> unknown_values("tags", 2, 1).tolist(), unknown_values("numbers", 0, 1).tolist()
    ([[-1, -1]], [nan])
    """
    shapes: dict[Kind, tuple[int, ...]] = {"tags": (names,), "points": (2,)}
    codes: dict[Kind, type] = {"classes": np.int64, "tags": np.int8}
    blank, code = (-1, codes[kind]) if kind in codes else (np.nan, np.float64)
    return np.full((rows, *shapes.get(kind, ())), blank, code)


def tag_values(rows: Sequence[Iterable[str] | None], names: Sequence[str]) -> Int[np.ndarray, "N C"]:
    """Return the values of rows by their tags, as of `Tags.of`; a tag without a name is left out."""
    number = {name: k for k, name in enumerate(names)}
    values = np.zeros((len(rows), len(names)), dtype=np.int8)
    for row, tags in enumerate(rows):
        if tags is None:
            values[row] = -1
        for tag in tags or ():
            if (column := number.get(tag.removeprefix(UNSURE))) is not None:
                values[row, column] = -1 if tag.startswith(UNSURE) else 1
    return values


def _with_rare(contents: str, rare: Rare | None) -> str:
    return contents if rare is None else f"{contents}; {rare}"


def _blocks(values: Values) -> Iterator[Values]:
    """Yield the values of some rows at a time, as those of all may be mapped from a file that is larger than memory."""
    for start in range(0, len(values), _BLOCK):
        yield values[start : start + _BLOCK]


class LabelTypeError(ValueError):
    """The error for a label of another kind than is needed."""


def of_kind(labels: Mapping[str, Label], kind: type[SomeLabel]) -> dict[str, SomeLabel]:
    """Return those of some labels that are of a kind."""
    return {name: label for name, label in labels.items() if isinstance(label, kind)}


def named(
    labels: Mapping[str, Label], name: str, kinds: Iterable[Kind], refused: Mapping[str, str], data: str
) -> Label:
    """Return the label of a name, which must be of one of some kinds.

    Args:
        labels: that there are.
        name: of the label.
        kinds: those that are needed; any where there are none.
        refused: what was no label, each with why.
        data: the name of the data.

    Raises:
        UnknownNameError: for a label that the data does not have; the message gives the nearest one of these kinds.
        LabelTypeError: for one of another kind; the message gives those that there are.
        ValueError: for what was no label; the message says why.
    """
    kinds = tuple(kinds)
    fit = [each for each, label in labels.items() if not kinds or label.kind in kinds]
    if name in labels:
        if name not in fit:
            have = f"there are {', '.join(fit)}" if fit else "there is no such label"
            have += whole_numbers(labels[name], name) if "numbers" in kinds else ""
            if "tags" in kinds and labels[name].kind == "classes":
                have += "; your files give several of a row as a list, or in a CSV between bars: red|green"
            raise LabelTypeError(
                f"the label {name!r} of {data} holds {labels[name].kind}, and {' or '.join(kinds)} are needed: {have}"
            )
        return labels[name]
    if name in refused:
        raise ValueError(f"{data}: {name!r} is no label: {refused[name]}")
    raise unknown("label", name, fit)


def whole_numbers(label: Label, name: str) -> str:
    """Return advice on a label whose classes are whole numbers, for what needs numbers; empty for any other label.

    >>> whole_numbers(Classes(("7", "8"), np.array([0, 1])), "age")
    '; --numbers age reads whole numbers of your files as such'
    """
    whole = isinstance(label, Classes) and all(re.fullmatch(r"[+-]?\d+(\.0*)?", it) for it in label.names)
    return f"; --numbers {name} reads whole numbers of your files as such" if whole else ""


def listed(labels: Mapping[str, Label]) -> str:
    """Return the names of labels with what they hold, where they are not classes.

    >>> listed({"age": Numbers(np.array([0.5])), "kind": Classes(("a", "b"), np.array([0]))})
    'age (numbers), kind'
    """
    return ", ".join(
        name if label.kind == "classes" else f"{name} ({label.kind})" for name, label in labels.items()
    )
