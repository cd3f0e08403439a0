"""Ranges of arguments: a constructor's signature declares them, and one place holds values against them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Self, Unpack, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from .forms import fault


class Checked:
    """A base of classes whose constructors refuse what lies outside the ranges that their signatures declare.

    A range is an annotation of `counterpoint.forms` (``Positive``, ``Count``), any other ``Annotated[…, Field(…)]``, or
    a ``Literal``, alone or as a part of a union or tuple. Other annotations are not looked at.

    Raises:
        ValueError: for an argument outside its range; the message names argument, class, range and value.

    >>> from counterpoint.forms import Positive
    >>> class Softmax(Checked):
    ...     def __init__(self, temperature: Positive = 0.1) -> None: ...
    >>> Softmax(-1.0)
    Traceback (most recent call last):
    ...
    ValueError: temperature of Softmax must be greater than 0, got -1.0
    """

    # Not a wrapped __init__: signatures and tracebacks stay as they are, and dataclasses get theirs later than
    # __init_subclass__ is called. Copies and pickles are made without arguments, and nothing is checked.
    def __new__(cls, *args: Any, **options: Any) -> Self:
        if args or options:
            validators = _validators(cls)  # type: ignore[arg-type] # a class is hashable
            for name, value in _arguments(cls, args, options):
                if name in validators:
                    _check(cls, name, validators[name], value)
        return super().__new__(cls)


def declared(kind: type) -> Mapping[str, Any]:
    """Return the arguments of a constructor that have a range, with their annotations.

    >>> from counterpoint.losses import SpectralLoss
    >>> list(declared(SpectralLoss))
    ['mu']
    """
    constructor: Any = kind.__init__  # type: ignore[misc] # of the class itself, not of an instance
    try:
        hints = get_type_hints(constructor, include_extras=True)
    except NameError:  # a user's class may import names of its annotations for type checkers alone
        return {}
    for hint in [*hints.values()]:
        if get_origin(hint) is Unpack:
            hints |= get_type_hints(get_args(hint)[0], include_extras=True)
    return {name: hint for name, hint in hints.items() if _has_range(hint)}


@cache
def _validators(kind: type) -> Mapping[str, Any]:
    config = ConfigDict(arbitrary_types_allowed=True)
    return {name: TypeAdapter(hint, config=config) for name, hint in declared(kind).items()}


def _has_range(hint: Any) -> bool:
    return get_origin(hint) in (Annotated, Literal) or any(map(_has_range, get_args(hint)))


def _arguments(kind: type, args: tuple[Any, ...], options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the arguments by their names; those that the signature does not know are left to the constructor."""
    _, *parameters = inspect.signature(kind.__init__).parameters.values()  # type: ignore[misc] # as above
    positional = (p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    yield from zip(positional, args, strict=False)
    yield from options.items()


def _check(kind: type, name: str, validator: Any, value: Any) -> None:
    try:
        # Numbers of any library may stand for one, but no text and no bool; and for a whole number no float, even 4.0,
        # as what is kept is the value itself.
        validator.validate_python(value, strict=isinstance(value, str | bool | float) or None)
    except ValidationError as error:
        raise ValueError(fault(error, lambda _: f"{name} of {kind.__name__}")) from None
