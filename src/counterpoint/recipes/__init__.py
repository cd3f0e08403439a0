"""Recipes: hyper-parameters as one frozen type, and the ones that ship, by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from ..files import parse_yaml
from ..forms import validated
from ..registry import unknown
from .schema import Augmentation, Optimizer, Recipe, Towers, Widths

__all__ = [
    "DEFAULT",
    "Augmentation",
    "Optimizer",
    "Recipe",
    "Towers",
    "Widths",
    "about",
    "load",
    "names",
    "override",
]

DEFAULT = "cpu"
"""Recipe of ``train`` and ``compare`` unless another one is named."""


def names() -> tuple[str, ...]:
    """Return the recipes that ship with the package."""
    folder = files(__package__)
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def about(name: str) -> str:
    """Return the first line of the comment at a recipe's head, of one of `names`: what the recipe is for.

    >>> about("gpu")
    "The sizes of the papers' heads on a ResNet-50 and CLIP's text tower, for one large GPU."
    """
    return _shipped(name).partition("\n")[0].removeprefix("# ")


def load(source: str | os.PathLike[str] = DEFAULT) -> Recipe:
    """Load a recipe by its name, or from a YAML file.

    >>> load("cpu").towers.image
    'cnn'

    Raises:
        UnknownNameError: for an unknown recipe or an unknown key, with the nearest known one.
        ValueError: for a value a key cannot take.
    """
    path = Path(source)
    if path.suffix in {".yaml", ".yml"}:
        return parse(_read(path), str(path))
    if str(source) not in names():
        raise unknown("recipe", str(source), names())
    return parse(parse_yaml(_shipped(str(source))), f"recipe {source}")


def _shipped(name: str) -> str:
    return files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def _read(path: Path) -> Any:
    """Read a YAML file of the user's."""
    try:
        return yaml.safe_load(path.read_bytes().decode()) or {}
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no recipe file {path}") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8 (byte {error.start}): a recipe is a YAML file"
        ) from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{path}{line} cannot be read as YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}") from None


def parse(values: Any, origin: str = "recipe") -> Recipe:
    """Validate the plain form of a recipe."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{origin}: expected keys and values, got {type(values).__name__}")
    return validated(Recipe, values, lambda name: f"{origin}: {name}")


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a recipe with some keys changed, by dotted name.

    Epochs go before the recipe's own length and its limit of passes, unless these are changed too.

    >>> override(load("cpu"), {"optimizer.lr": 1e-4, "steps": 10}).optimizer.lr
    0.0001
    >>> override(load("seconds"), {"epochs": 10}).steps is None
    True
    """
    values = recipe.model_dump()
    if "epochs" in changes:
        values |= {"steps": None, "most_passes": None}
    for key, value in changes.items():
        *sections, last = key.split(".")
        inner = values
        for section in sections:
            if not isinstance(inner.get(section), dict):
                raise unknown("recipe section", section, [k for k, v in inner.items() if isinstance(v, dict)])
            inner = inner[section]
        inner[last] = value
    return parse(values, "override")
