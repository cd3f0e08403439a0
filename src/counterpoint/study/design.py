"""What a study compares: arms, data, seeds, one recipe, one budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import yaml

from ..files import write_text
from ..recipes import Recipe, override, parse
from ..recipes import load as load_recipe
from ..training.run import Run

T = TypeVar("T")
AnyDesign = TypeVar("AnyDesign", bound="Claimant")
Budget = Literal["steps", "images", "time"]
FORMAT = 1
"""Version of the study folder. Folders of this and of earlier versions can be read."""


class OtherStudy(ValueError):
    """A folder already holds another study."""


@dataclass(frozen=True)
class ArmPlan:
    """How one arm is run: its steps under the budget, and what tuning chose for it."""

    steps: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Design:
    """A study before it is run.

    Attributes:
        arms: method specifications (``"clip"``, ``"slip,ssl_weight=0.5"``, ``"./my_loss.py:MyLoss"``).
        data: a data set's name or a path.
        seeds: the seeds every arm is run with.
        recipe: the one recipe of all arms.
        budget: what is made equal: optimiser steps, passes through the image tower, or training time.
        tune: trials per arm of a random search on validation; 0 leaves the recipe as it is.
        margin: differences within ± this are called equivalent (in the metric's own units).
        tasks: evaluation tasks; all unless given.
    """

    arms: tuple[str, ...]
    data: str = "emoji"
    seeds: tuple[int, ...] = (0, 1, 2)
    recipe: Recipe = field(default_factory=lambda: load_recipe("cpu"))
    budget: Budget = "steps"
    tune: int = 0
    margin: float = 0.01
    tasks: tuple[str, ...] = ("retrieval", "zero_shot", "probe", "shift")

    def __post_init__(self) -> None:
        if not self.arms:
            raise ValueError("a study needs at least one arm, for example: counterpoint compare clip slip")
        if not self.seeds:
            raise ValueError("a study needs at least one seed")
        for kind, items in (("arm", self.arms), ("seed", self.seeds)):
            if len(set(items)) != len(items):
                raise ValueError(f"{kind} given twice in {list(items)}")

    def run(self, arm: str, seed: int, plan: ArmPlan) -> Run:
        """The run of one arm and seed."""
        recipe = override(self.recipe, {**plan.changes, "steps": plan.steps})
        return Run(with_options(arm, plan.options), self.data, recipe, seed)

    def plain(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "arms": list(self.arms),
            "data": self.data,
            "seeds": list(self.seeds),
            "budget": self.budget,
            "tune": self.tune,
            "margin": self.margin,
            "tasks": list(self.tasks),
            "recipe": self.recipe.model_dump(),
        }

    @classmethod
    def read(cls, folder: Path) -> Design | None:
        """The study of a folder, or None where there is none."""
        plain = read_plain(folder, "training")
        if plain is None:
            return None
        plain["recipe"] = parse(plain["recipe"], str(folder / "study.yaml"))
        for key in ("arms", "seeds", "tasks"):
            plain[key] = tuple(plain[key])
        return cls(**plain)

    def claim(self, folder: Path) -> Design:
        """Make a folder this study's; see `claim`."""
        return claim(self, self.read(folder), folder)


@runtime_checkable
class Claimant(Protocol):
    """A design that a folder can belong to: a frozen dataclass with these fields."""

    @property
    def arms(self) -> tuple[str, ...]: ...
    @property
    def seeds(self) -> tuple[int, ...]: ...
    def plain(self) -> dict[str, Any]: ...


def kind_of(folder: Path) -> str | None:
    """Which kind of study a folder holds, ``"training"`` or ``"decoding"``; None where there is none."""
    path = folder / "study.yaml"
    if not path.exists():
        return None
    kind: str = yaml.safe_load(path.read_text(encoding="utf-8")).get("kind", "training")
    return kind


def read_plain(folder: Path, kind: str) -> dict[str, Any] | None:
    """What a folder's ``study.yaml`` says, without its format and kind; None where there is none.

    Raises:
        OtherStudy: if it is a study of another kind.
        ValueError: if a newer version wrote it.
    """
    there = kind_of(folder)
    if there is None:
        return None
    if there != kind:
        raise OtherStudy(
            f"{folder} holds a study of another kind ({there}): give another folder with --out, or delete this one"
        )
    plain: dict[str, Any] = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
    if plain.pop("format", FORMAT) > FORMAT:
        raise ValueError(f"{folder} was written by a newer counterpoint; upgrade to read it")
    plain.pop("kind", None)
    return plain


def merge(design: AnyDesign, there: AnyDesign | None, folder: Path) -> AnyDesign:
    """A design with the arms and seeds that its folder already holds.

    Raises:
        OtherStudy: if the folder holds a study that differs in more than its arms and seeds.
    """
    if there is None:
        return design
    old, new = there.plain(), design.plain()
    differing = [k for k, v in new.items() if k not in {"arms", "seeds"} and old.get(k) != v]
    if differing:
        raise OtherStudy(
            f"{folder} holds another study (it differs in {', '.join(differing)}): "
            "give another folder with --out, or delete this one"
        )
    whole: Any = design  # a frozen dataclass, which a protocol cannot say
    merged: AnyDesign = replace(
        whole, arms=_union(there.arms, design.arms), seeds=_union(there.seeds, design.seeds)
    )
    return merged


def claim(design: AnyDesign, there: AnyDesign | None, folder: Path) -> AnyDesign:
    """Make a folder a design's; arms and seeds that it already holds stay in the study.

    Raises:
        OtherStudy: if it holds a study that differs in more than its arms and seeds.
        OSError: if it cannot be written.
    """
    merged = merge(design, there, folder)
    try:
        write_text(folder / "study.yaml", yaml.safe_dump(merged.plain(), sort_keys=False))
    except OSError as error:
        raise OSError(
            f"cannot write to {folder}: {error.strerror}; choose another folder with --out"
        ) from error
    return merged


def _union(first: Sequence[T], second: Sequence[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys([*first, *second]))


def with_options(arm: str, options: Mapping[str, Any]) -> str:
    """An arm with further options.

    >>> with_options("slip", {"ssl_weight": 0.5})
    'slip,ssl_weight=0.5'
    """
    return ",".join([arm, *(f"{k}={v}" for k, v in options.items())])
