"""The options of a constructor, read from its annotations: their names, their types, values from text."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, Unpack, get_args, get_origin, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError
from torch import nn

from ..forms import fault
from ..registry import unknown

_GIVEN = {"self", "towers", "recipe", "objective", "name", "target"}
"""Arguments that the builder of a method passes itself."""
_PLAIN = Annotated[int | float | bool | str, Field(union_mode="left_to_right")]
"""Type of an option where nothing says what the option is: a number if its text reads as one."""


def options_of(constructor: Callable[..., Any]) -> dict[str, Any]:
    """Return the options a class or function takes, with their types (the default's where there is no annotation).

    ``**options: Unpack[SomeTypedDict]`` counts as the keys of the typed dictionary.

    >>> def build(towers, *, weight: float = 1.0, views=0): ...
    >>> options_of(build)
    {'weight': <class 'float'>, 'views': <class 'int'>}
    """
    function: Callable[..., Any] = constructor.__init__ if inspect.isclass(constructor) else constructor
    # The fields of a dataclass may be annotated in the file of a class that it is made of.
    hints = get_type_hints(constructor if is_dataclass(constructor) else function, include_extras=True)
    options: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD and get_origin(hints.get(name)) is Unpack:
            options |= get_type_hints(get_args(hints[name])[0], include_extras=True)
        elif (
            parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD) and name not in _GIVEN
        ):
            # None as a default says nothing of the type.
            stated = parameter.default not in (parameter.empty, None)
            options[name] = hints.get(name, type(parameter.default) if stated else _PLAIN)
    return options


def required(constructor: Callable[..., Any]) -> list[str]:
    """Return the options without which nothing can be built: another model's name, say.

    >>> def build(towers, *, teacher: str, weight: float = 1.0): ...
    >>> required(build)
    ['teacher']
    """
    parameters, options = inspect.signature(constructor).parameters, options_of(constructor)
    empty = inspect.Parameter.empty
    return [name for name, parameter in parameters.items() if name in options and parameter.default is empty]


def options_of_arm(constructor: Callable[..., Any]) -> dict[str, Any]:
    """Return the options of a method; of a loss, its own and those of `SingleLoss`, which makes a method of it.

    Raises:
        ValueError: if a loss has an option that `SingleLoss` has too.
    """
    from .base import Method
    from .single_loss import SingleLoss

    options = options_of(constructor)
    if not inspect.isclass(constructor) or issubclass(constructor, Method):
        return options
    around = options_of(SingleLoss)
    for name in options.keys() & (around.keys() | {"on", "columns", "labels", "sampler", "shots", "wise"}):
        raise ValueError(
            f"{constructor.__name__} must call its option {name!r} otherwise: every loss has one"
        )
    return options | around


def check(kind: str, constructor: Callable[..., Any], names: Iterable[str]) -> None:
    """Refuse a name that is not an option, naming the nearest one that is."""
    known = options_of_arm(constructor)
    for name in names:
        if name not in known:
            raise unknown(f"option of {kind}", name, known)


def read(kind: str, constructor: Callable[..., Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Convert options, as they are written on a command line, to their types.

    >>> def build(*, weight: float = 1.0, wide: bool = False): ...
    >>> read("build", build, {"weight": "0.5", "wide": "true"})
    {'weight': 0.5, 'wide': True}

    Raises:
        UnknownNameError: for a name that is no option, with the nearest one.
        ValueError: for a value of another type.
    """
    return values(kind, options_of_arm(constructor), texts)


def values(kind: str, types: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Convert texts to the types of the options; several values of one stand between slashes.

    >>> values("build", {"weight": float, "names": tuple[str, ...]}, {"weight": "0.5", "names": "a/b"})
    {'weight': 0.5, 'names': ('a', 'b')}

    Raises:
        UnknownNameError: for a name that is no option, with the nearest one.
        ValueError: for a value of another type.
    """
    for name in texts:
        if name not in types:
            raise unknown(f"option of {kind}", name, types)
    return {name: _value(kind, name, text, types[name]) for name, text in texts.items()}


def _adapter(type_: Any) -> Any:
    """Return the adapter of what can be written as text: a `Temperature` object cannot, the number beside it can."""
    plain = [t for t in _parts(type_) if not (inspect.isclass(t) and issubclass(t, nn.Module))]
    type_ = Union[tuple(plain)]  # noqa: UP007 # made at run time
    return TypeAdapter(type_)


def _parts(type_: Any) -> tuple[Any, ...]:
    """Return the types of which a type is one."""
    return get_args(type_) if isinstance(type_, UnionType) or get_origin(type_) is Union else (type_,)


def _value(kind: str, name: str, text: str, type_: Any) -> Any:
    if text.lower() == "none" and NoneType in get_args(type_):
        return None
    try:
        several = any(get_origin(part) in (tuple, Sequence) for part in _parts(type_))
        value = _adapter(type_).validate_python(tuple(text.split("/")) if several else text)
    except ValidationError as error:
        raise ValueError(fault(error, lambda _: f"option {name} of {kind}")) from None
    # nan and inf are floats to Python, and no value that an option could mean.
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"option {name} of {kind} must be a finite number, got {text}")
    return value
