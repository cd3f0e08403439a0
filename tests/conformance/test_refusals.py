"""Arguments at the edges of the ranges that signatures declare: accepted within, refused by name outside."""

from __future__ import annotations

import inspect
import math
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

import counterpoint
from counterpoint.ranges import Checked, declared

ROOMS = ("pairwise", "losses", "networks", "methods", "decoding", "evaluation")


def subclasses(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


def found() -> list[tuple[type, str]]:
    """Return every argument with a range of every class in the rooms that declare some."""
    for room in ROOMS:
        package = import_module(f"counterpoint.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    kinds = {
        kind
        for kind in subclasses(Checked)
        if kind.__module__.startswith(counterpoint.__name__) and not inspect.isabstract(kind)
    }
    return [
        (kind, name) for kind in sorted(kinds, key=lambda kind: kind.__qualname__) for name in declared(kind)
    ]


ARGUMENTS = found()


def parts(hint: Any) -> Iterator[Any]:
    """The ranges in an annotation, those in unions too; a tuple beside a number is another way to write it."""
    if get_origin(hint) in (Annotated, Literal):
        if get_origin(get_args(hint)[0]) is not tuple:
            yield hint
    elif get_origin(hint) is not tuple:
        for part in get_args(hint):
            yield from parts(part)


def refused(hint: Any) -> Iterator[tuple[Any, str]]:
    """Values just outside a range, each with the words that must name the range."""
    if get_origin(hint) is Literal:
        yield "no such choice", repr(get_args(hint)[-1])
        return
    number, *rules = get_args(hint)
    for rule in [
        rule for field in rules for rule in (field.metadata if isinstance(field, FieldInfo) else ())
    ]:
        if isinstance(rule, Ge):
            yield before(number, rule.ge), f"at least {rule.ge:g}"
        elif isinstance(rule, Gt):
            yield number(rule.gt), f"greater than {rule.gt:g}"
        elif isinstance(rule, Le):
            yield after(number, rule.le), f"at most {rule.le:g}"
        elif isinstance(rule, Lt):
            yield number(rule.lt), f"less than {rule.lt:g}"
    yield "many", "number"
    yield (math.nan, "") if number is float else (1.5, "whole number")


def accepted(hint: Any) -> Iterator[Any]:
    """The first and the last values of a range."""
    if get_origin(hint) is Literal:
        yield from get_args(hint)
        return
    number, *rules = get_args(hint)
    for rule in [
        rule for field in rules for rule in (field.metadata if isinstance(field, FieldInfo) else ())
    ]:
        if isinstance(rule, Ge):
            yield number(rule.ge)
        elif isinstance(rule, Gt):
            yield after(number, rule.gt)
        elif isinstance(rule, Le):
            yield number(rule.le)
        elif isinstance(rule, Lt):
            yield before(number, rule.lt)


def before(number: type, value: Any) -> Any:
    return value - 1 if number is int else math.nextafter(value, -math.inf)


def after(number: type, value: Any) -> Any:
    return value + 1 if number is int else math.nextafter(value, math.inf)


def test_what_is_outside_is_refused_by_name_range_and_the_value(subtests: pytest.Subtests) -> None:
    for kind, name in ARGUMENTS:
        with subtests.test(f"{kind.__name__}, {name}"):
            hint = declared(kind)[name]
            tuple_of = get_args(hint) if get_origin(hint) is tuple else None
            for part in parts(tuple_of[0] if tuple_of else hint):
                for value, range_ in refused(part):
                    with pytest.raises(ValueError) as error:  # noqa: PT011 # looked at below
                        kind(**{name: (value,) * len(tuple_of) if tuple_of else value})
                    message = str(error.value)
                    assert message.startswith(f"{name} of {kind.__name__} must be ")
                    assert range_ in message
                    assert message.endswith(f", got {value!r}")


def test_what_is_inside_is_accepted_and_so_is_the_default(subtests: pytest.Subtests) -> None:
    for kind, name in ARGUMENTS:
        with subtests.test(f"{kind.__name__}, {name}"):
            hint = declared(kind)[name]
            if get_origin(hint) is not tuple:
                for part in parts(hint):
                    for value in accepted(part):
                        kind.__new__(kind, **{name: value})
            parameter = inspect.signature(kind.__init__).parameters.get(name)
            if parameter is not None and parameter.default is not parameter.empty:
                kind.__new__(kind, **{name: parameter.default})
