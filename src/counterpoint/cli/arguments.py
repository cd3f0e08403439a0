"""What several commands share: parsing into a dataclass, and recipes given by name plus changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import tyro

from ..recipes import load as load_recipe

T = TypeVar("T")


def parse(form: type[T], arguments: Sequence[str], command: str) -> T:
    """Fill a dataclass from the command line.

    Where the dataclass has a ``recipe`` (a name or a file) and ``options`` (a Recipe), the named recipe gives the
    defaults of the options, so that ``--recipe gpu --optimizer.lr 1e-3`` changes one number of that recipe.
    """
    words, program = [*arguments], f"counterpoint {command}"
    if not {"recipe", "options"} <= {field.name for field in dataclasses.fields(form)}:  # type: ignore[arg-type]
        return tyro.cli(form, args=words, prog=program)
    default = form(options=load_recipe(_value(arguments, "--recipe") or "cpu"))  # type: ignore[call-arg]
    return tyro.cli(form, args=words, prog=program, default=default)


def _value(arguments: Sequence[str], flag: str) -> str | None:
    for position, word in enumerate(arguments):
        if word == flag and position + 1 < len(arguments):
            return arguments[position + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None
