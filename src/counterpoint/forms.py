"""Forms: options with their constraints, their defaults and their help, for the command line and for Python alike.

A form is a pydantic dataclass or model. What is wrong with a value is one line that names the option, whoever gave it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic.fields import FieldInfo

from .registry import UnknownNameError

T = TypeVar("T")

FORM = ConfigDict(extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True)
"""For the dataclasses of forms: the text below a field is its help."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Range of a finite number above 0."""
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Range of a finite number of at least 0."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
"""Range of any finite number."""
Fraction = Annotated[float, Field(ge=0, le=1)]
"""Range of a number from 0 to 1."""
BelowOne = Annotated[float, Field(ge=0, lt=1)]
"""Range of a number from 0 to 1, 1 left out."""
Share = Annotated[float, Field(gt=0, le=1)]
"""Range of a number from 0 to 1, 0 left out."""
Count = Annotated[int, Field(ge=1)]
"""Range of a whole number of at least 1."""
Natural = Annotated[int, Field(ge=0)]
"""Range of a whole number of at least 0."""
Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]


@dataclasses.dataclass(frozen=True)
class ComputedField:
    """Marks a field that is computed from the others: nobody is asked for it."""


@dataclasses.dataclass(frozen=True)
class Positional:
    """Marks a field that the command line takes without its name."""


@dataclasses.dataclass(frozen=True)
class FlatField:
    """Marks a part of a form whose options are named without the part's own name."""


@dataclasses.dataclass(frozen=True)
class ParsedField:
    """Marks a field that is typed in another form than it is kept in.

    Attributes:
        kind: the type of what is typed.
        default: what is shown as the default, where it is not the field's own.
    """

    kind: Any
    default: Any = None


def fields_of(form: type) -> Mapping[str, FieldInfo]:
    """Return the fields of a form by their names."""
    if issubclass(form, BaseModel):
        return form.model_fields
    return form.__pydantic_fields__  # type: ignore[attr-defined] # of every pydantic dataclass


def validated(form: type[T], values: object, naming: Callable[[str], str] = str) -> T:
    """Return a form filled with values.

    Args:
        form: a pydantic dataclass or model.
        values: the values by the names of the fields.
        naming: the name of an option, from its field's dotted name; of ``""``, what stands before a fault of the whole.

    Raises:
        ValueError: for a value that an option cannot take; the message names the option.

    >>> from counterpoint.recipes import Recipe
    >>> validated(Recipe, {"optimizer": {"lr": -1}})
    Traceback (most recent call last):
    ...
    ValueError: optimizer.lr must be greater than 0, got -1
    """
    try:
        filled: T = TypeAdapter(form).validate_python(values)
    except ValidationError as error:
        raise ValueError(fault(error, naming)) from None
    return filled


def fault(error: ValidationError, naming: Callable[[str], str] = str) -> str:
    """Return the first thing that is wrong, in one line."""
    first: Mapping[str, Any] = error.errors()[0]
    words, bounds = first["msg"], first.get("ctx", {})
    cause = bounds.get("error")
    # Places in a list, and the branch of a union ("constrained-int"), are no part of an option's name.
    name = ".".join(part for part in first["loc"] if isinstance(part, str) and part.isidentifier())
    if isinstance(cause, UnknownNameError) or (cause is not None and not name):
        return f"{naming('')}{cause}"
    if cause is not None:
        return f"{naming(name)} {cause}".lstrip()
    if first["type"] in _WORDS:
        words = _WORDS[first["type"]].format_map(bounds)
    elif first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"there is no option {naming(name)}"
    elif first["type"] == "missing":
        return f"{naming(name)} is missing"
    return f"{naming(name)} {words}, got {first['input']!r}".lstrip()


_WORDS = {
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be greater than {gt:g}",
    "less_than_equal": "must be at most {le:g}",
    "less_than": "must be less than {lt:g}",
    "finite_number": "must be a finite number",
    "literal_error": "must be one of {expected}",
    **dict.fromkeys(["int_type", "int_parsing", "int_from_float"], "must be a whole number"),
    **dict.fromkeys(["float_type", "float_parsing"], "must be a number"),
    **dict.fromkeys(["bool_type", "bool_parsing"], "must be true or false"),
    "string_type": "must be a text",
    **dict.fromkeys(["model_type", "dataclass_type", "model_attributes_type"], "must hold keys and values"),
    **dict.fromkeys(["tuple_type", "list_type"], "must be a list"),
}
"""Kinds of faults, as pydantic calls them, in words that continue the option's name."""


def several(values: object) -> object:
    """Turn a list of texts into a tuple, None into none; refuse one text, whose letters are a list too.

    >>> several(["retrieval"])
    ('retrieval',)
    >>> several("retrieval")
    Traceback (most recent call last):
    ...
    ValueError: must be a list of names, got 'retrieval': write ['retrieval']
    """
    if isinstance(values, str):
        raise ValueError(f"must be a list of names, got {values!r}: write [{values!r}]")
    return () if values is None else tuple(values) if isinstance(values, Sequence) else values


def seeds_of(values: object) -> object:
    """Turn a number of seeds into the first ones; leave a list of seeds.

    >>> seeds_of(3), seeds_of([4, 7])
    ((0, 1, 2), (4, 7))
    """
    if isinstance(values, int) and not isinstance(values, bool):
        if values < 1:
            raise ValueError(f"must be at least 1, got {values}")
        return tuple(range(values))
    if isinstance(values, str | bool | float) or values is None:
        raise ValueError(f"must be a number of seeds or a list of them, got {values!r}")
    return several(values)


def _path_or_name(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def folder_of(value: object) -> object:
    """Refuse the empty name, which would be the current folder.

    >>> folder_of("runs/one")
    PosixPath('runs/one')
    """
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("must name a folder, got nothing")
        return Path(value)
    return value


Folder = Annotated[Path | None, ParsedField(str | None), BeforeValidator(folder_of)]
OutFolder = Annotated[Path, ParsedField(str), BeforeValidator(folder_of)]


def unique(values: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse a list that names a thing twice."""
    twice = [value for value in dict.fromkeys(values) if values.count(value) > 1]
    if twice:
        raise ValueError(f"must differ from each other, got {twice[0]!r} more than once")
    return values


Name = Annotated[str, BeforeValidator(_path_or_name)]
Names = Annotated[tuple[str, ...], BeforeValidator(several), AfterValidator(unique)]
Seeds = Annotated[tuple[Seed, ...], BeforeValidator(seeds_of), AfterValidator(unique)]
Margin = Annotated[Positive, Field(strict=True)]
