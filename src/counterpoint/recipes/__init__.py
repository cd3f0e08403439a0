"""Recipes: hyper-parameters as one frozen type, and the ones that ship, by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ..registry import unknown
from .schema import Augmentation, Optimizer, Recipe, Towers, Widths

__all__ = ["Augmentation", "Optimizer", "Recipe", "Towers", "Widths", "load", "names", "override"]


def names() -> tuple[str, ...]:
    """The recipes that ship with the package."""
    folder = files(__package__)
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def load(source: str | os.PathLike[str] = "cpu") -> Recipe:
    """A recipe by its name, or from a YAML file.

    >>> load("cpu").towers.image
    'cnn'

    Raises:
        UnknownName: for an unknown recipe or an unknown key, with the nearest known one.
        ValueError: for a value a key cannot take.
    """
    path = Path(source)
    if path.suffix in {".yaml", ".yml"}:
        text, origin = path.read_text(encoding="utf-8"), str(path)
    elif str(source) in names():
        text, origin = (
            files(__package__).joinpath(f"{source}.yaml").read_text(encoding="utf-8"),
            f"recipe {source}",
        )
    else:
        raise unknown("recipe", str(source), names())
    return parse(yaml.safe_load(text) or {}, origin)


def parse(values: Any, origin: str = "recipe") -> Recipe:
    """Validate the plain form of a recipe."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{origin}: expected keys and values, got {type(values).__name__}")
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{origin}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A recipe with some keys changed, by dotted name.

    >>> override(load("cpu"), {"optimizer.lr": 1e-4, "steps": 10}).optimizer.lr
    0.0001
    """
    values = recipe.model_dump()
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = values
        for section in sections:
            if not isinstance(place.get(section), dict):
                raise unknown("recipe section", section, [k for k, v in place.items() if isinstance(v, dict)])
            place = place[section]
        place[last] = value
    return parse(values, "override")
