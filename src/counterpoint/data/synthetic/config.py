"""The text after ``--data``, in one form for every kind of world: a preset, its options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

from pydantic import ValidationError, field_validator, model_validator

from ...forms import fault
from ...recipes.schema import Section
from ...registry import unknown


class WorldConfig(Section):
    """A configuration of some kind of world, as Python values or as written on a command line.

    A list is written with ``+`` (``colours=red+blue``), a range with ``-`` (``objects=2-4``, or ``objects=2``).

    Attributes:
        ranges: the options that go from the fewest to the most.
        known: the options that are lists of names, each with the names that it may hold.
    """

    ranges: ClassVar[tuple[str, ...]]
    known: ClassVar[Mapping[str, tuple[str, ...]]]

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(
        cls, value: Any, info: Any
    ) -> Any:  # a ValidationInfo, a protocol not made for isinstance
        name = info.field_name or ""
        if name in cls.ranges:
            return _range(value)
        return names(name, value, cls.known[name]) if name in cls.known else value

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in self.ranges:
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} goes from the fewest to the most, got {low}-{high}")
        return self

    def changed(self, changes: Mapping[str, Any], origin: str = "options") -> Self:
        """Return the configuration with some options changed; values may be as written on a command line.

        Raises:
            ValueError: as the class says; the message begins with ``origin`` and the option.
        """
        try:
            return type(self).model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            raise ValueError(
                fault(error, lambda name: f"{origin}: {name}:" if name else f"{origin}: ")
            ) from None


def shown(value: Any) -> str:
    """Return the value of an option as a description shows it."""
    if not isinstance(value, tuple):
        return str(value)
    if value and isinstance(value[0], int):
        return "-".join(map(str, value))
    return ", ".join(" and ".join(v) if isinstance(v, tuple) else str(v) for v in value)


def _range(value: Any) -> Any:
    if isinstance(value, str):
        low, _, high = value.partition("-")
        return low, high or low
    return (value, value) if isinstance(value, int) else value


def names(kind: str, value: str | Iterable[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of a list, which a text has with ``+`` between them.

    >>> names("colour", "blue+red", ("red", "blue"))
    ('blue', 'red')

    Raises:
        UnknownNameError: for a name that is not known.
        ValueError: for a name given twice, and for none at all.
    """
    listed = tuple(value.split("+")) if isinstance(value, str) else tuple(value)
    for name in listed:
        if name not in known:
            raise unknown(kind, str(name), known)
    if not listed or len(set(listed)) < len(listed):
        raise ValueError(f"expected at least one {kind}, and none twice; got {', '.join(listed) or 'none'}")
    return listed


def whole(kind: str, options: Mapping[str, str], least: Mapping[str, int]) -> dict[str, int]:
    """Return the options that are whole numbers; each option has a least value.

    Raises:
        ValueError: for one that is none, or too small.
    """
    numbers: dict[str, int] = {}
    for name, text in options.items():
        if name not in least:
            continue
        try:
            numbers[name] = int(text)
        except ValueError:
            raise ValueError(f"{kind}: {name}={text} is no whole number") from None
        if numbers[name] < least[name]:
            raise ValueError(f"{kind}: {name} must be at least {least[name]}, got {numbers[name]}")
    return numbers
