"""Worlds with names: a configuration, sizes and splits that do not change under one version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, Self, TypeVar

from ...registry import unknown
from ...spec import Spec
from ..sides import Side
from .config import WorldConfig, shown, whole

Overrides = Mapping[str, Mapping[str, Any]]
"""Named splits of one side, each with the options that it overrides."""
C = TypeVar("C", bound=WorldConfig)
P = TypeVar("P", bound="Preset[Any]")


@dataclass(frozen=True)
class Preset(Generic[C]):
    """A world with a name.

    Attributes:
        name: after ``scenes:`` and the like.
        about: in one line.
        config: of all splits, but for what a split overrides.
        version: raised whenever a row of it would change.
        seed: of the world; another seed is another world of the same kind.
        train, validation, test: rows of training, and of each validation and test split.
        validations, tests: the splits, with the options that they override.
    """

    world: ClassVar[str]
    """Name of the kind of world, as users write it before the colon."""
    least: ClassVar[Mapping[str, int]] = {"seed": 0, "train": 1, "validation": 1, "test": 1, "pixels": 16}
    """Options of the preset itself that are whole numbers, with the least value of each."""
    readers: ClassVar[Mapping[str, Callable[[str], Any]]] = {}
    """Other options of the preset itself, each with the function that reads its text."""

    name: str
    about: str
    config: C
    version: int = 1
    seed: int = 0
    train: int = 4_000
    validation: int = 300
    test: int = 500
    validations: Overrides = field(default_factory=lambda: {"as trained": {}})
    tests: Overrides = field(default_factory=lambda: {"as trained": {}})

    @property
    def key(self) -> str:
        """Return what tells this world's draws from those of other worlds: kind, preset, version."""
        return f"{self.world} {self.name} {self.version}"

    @property
    def splits(self) -> dict[tuple[Side, str], tuple[int, C]]:
        """Return the rows and the configuration of every split, by its side and its name.

        Raises:
            ValueError: if the options of a split contradict each other.
        """
        splits: dict[tuple[Side, str], tuple[int, C]] = {("train", ""): (self.train, self.config)}
        others: tuple[tuple[Side, int, Overrides], ...] = (
            ("validation", self.validation, self.validations),
            ("test", self.test, self.tests),
        )
        for side, count, overrides in others:
            for name, changes in overrides.items():
                origin = f"{self.world}:{self.name}, {side} {name!r}"
                splits[side, name] = count, self.config.changed(changes, origin)
        return splits

    def changed(self, options: Mapping[str, str]) -> Self:
        """Return the preset with some options as they are written on a command line.

        Raises:
            UnknownNameError: for an option that neither the configuration nor the preset has.
            ValueError: for a value that it cannot have.
        """
        known = [*self.least, *self.readers, *type(self.config).model_fields]
        for name in options:
            if name not in known:
                raise unknown(f"option of {self.world}", name, known)
        fields: dict[str, Any] = dict(whole(self.world, options, self.least))
        fields |= {name: read(options[name]) for name, read in self.readers.items() if name in options}
        inner = {name: text for name, text in options.items() if name in type(self.config).model_fields}
        return replace(self, config=self.config.changed(inner, f"{self.world}:{self.name}"), **fields)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe the world, and the options that it overrides, as titled tables."""
        plain = type(self.config)()
        values = {name: getattr(self.config, name) for name in type(self.config).model_fields}
        return {
            "data": {"about": self.about, "version": self.version, "seed": self.seed},
            "overrides": {
                name: shown(value) for name, value in values.items() if value != getattr(plain, name)
            },
        }


def preset_of(spec: Spec, presets: Mapping[str, P]) -> P:
    """Return the preset that is written ``WORLD:NAME,option=value``, ``basic`` unless named, with its options.

    Raises:
        UnknownNameError: for an unknown preset or option; the message gives the nearest.
        ValueError: for a value that an option cannot have.
    """
    world, _, name = spec.name.partition(":")
    name = name or "basic"
    if name not in presets:
        raise unknown(f"preset of {world}", name, presets)
    return presets[name].changed(spec.options)
