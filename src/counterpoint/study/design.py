"""The design of a study: arms, data, seeds, one recipe, one budget."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypedDict, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as form

from ..data.derived.labelling import Labelled, Labelling
from ..data.derived.mixture import together
from ..data.kinds.written import MIXED
from ..execution.folders import unwritable
from ..files import FORMAT, DamagedFileError, read_yaml, write_yaml
from ..forms import FORM, ComputedField, Margin, Names, Natural, ParsedField, Positional, Seeds, validated
from ..methods.arm import Arm, is_fixed
from ..reasons import listing
from ..recipes import Recipe, override, parse
from ..recipes import load as load_recipe
from ..spec import Spec, of_seed
from ..trust import given

if TYPE_CHECKING:
    from ..training.run import Run

T = TypeVar("T")
Of = TypeVar("Of", bound="FolderDesign")
"""The design of one kind; `Self` inside a union is more than beartype checks."""
Budget = Literal["steps", "passes", "time"]
FILE = "study.yaml"
REMEDY = "restore it from a copy, or give another folder with --out; the runs beside it are whole"
"""Advice for a damaged ``study.yaml``."""


FOLDS = 4
"""Parts of the shots, at most, each of which is held out of a run of every trial of a search."""
_JUDGES = ("classification", "multi_label", "zero_shot", "probe")

_JOINED = ("arms", "seeds", "added")
"""Parts of a design that a folder's study can get more of."""
_REPORTED = {"margin", "title"}
"""Parts of a design that no run depends on: a finished study can be given others."""


class OtherStudyError(ValueError):
    """A folder already holds another study."""


@dataclass(frozen=True)
class ArmCost:
    """The cost of one arm's step, measured before the study began.

    Attributes:
        seconds_per_step: the median of a few; 0 where the loss was not finite.
        seconds_range: the least and the greatest of those.
        passes: of one example through towers per step, by modality (momentum copies counted), in inputs of full size;
            and of pairs through a joint encoder, under ``"pairs"``.
        parameters: of the method, momentum copies included.
        peak_memory_bytes: of the process while it trained those steps.
        batch_size: examples of a step, at most those that there are.
        cut_captions: the share of the training captions that the context of the text tower cuts.
        image_size: side in pixels of the pictures that the image tower is shown; 0 without such a tower.
        negatives: of an anchor, for each score matrix that the losses form.
        rows: that it trains on.
        left_out: rows to train on that lack a column which its method reads and cannot do without.
        passes_of_all: of all its rows through towers in a run, by modality, however many steps that has.
    """

    seconds_per_step: float
    passes: dict[str, int | float]
    parameters: int
    peak_memory_bytes: int
    batch_size: int
    cut_captions: float = 0.0
    image_size: int = 0
    negatives: tuple[float, ...] = ()
    rows: int = 0
    left_out: int = 0
    passes_of_all: dict[str, int | float] = field(default_factory=dict)
    seconds_range: tuple[float, float] = (0.0, 0.0)

    def passes_of_run(self, modality: str, steps: int) -> float:
        """Return the passes of examples through towers of a modality in a run of so many steps."""
        of_all = self.passes_of_all.get(modality, 0) * self.rows
        return self.passes.get(modality, 0) * self.batch_size * steps + of_all


@dataclass(frozen=True)
class ArmPlan:
    """The plan by which one arm is run.

    Attributes:
        steps: under the budget.
        changes: of the recipe, that the search chose.
        options: of the arm, that the search chose.
        cost: of a step.
        searched: the search is over, or none was asked for.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    steps: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    cost: ArmCost | None = None
    searched: bool = True


class _StudyFile(BaseModel):
    """``study.yaml`` of any kind."""

    model_config = ConfigDict(extra="allow")
    format: int = FORMAT
    kind: str = "training"


class FolderDesign(ABC):
    """A design that a folder can belong to: a frozen dataclass, which ``study.yaml`` keeps.

    Attributes:
        kind: of the study.
        required: keys that the file must have.
    """

    kind: ClassVar[str]
    required: ClassVar[tuple[str, ...]]

    arms: tuple[str, ...]
    data: str
    seeds: tuple[int, ...]
    margin: float
    title: str

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("a study needs at least one seed")

    @abstractmethod
    def plain(self) -> dict[str, Any]:
        """Return the content of ``study.yaml``."""

    @classmethod
    @abstractmethod
    def fields_of(cls, plain: dict[str, Any]) -> dict[str, Any]:
        """Return the fields that the content of a ``study.yaml`` fills.

        Raises:
            ValueError: for what it cannot say.
        """

    @classmethod
    def read(cls: type[Of], folder: Path, margin: float | None = None) -> Of | None:
        """Return the study of a folder, or None where there is none.

        Args:
            folder: the study's.
            margin: another one than the study's own.

        Raises:
            DamagedFileError: if ``study.yaml`` cannot be read, or is only a part of one.
            OtherStudyError: if it is a study of another kind.
        """
        path = folder / FILE
        if not path.exists():
            return None
        content = read_yaml(path, _StudyFile, REMEDY)
        if content.kind != cls.kind:
            raise OtherStudyError(
                f"{folder} holds a study of another kind ({content.kind}): give another folder with --out, or delete "
                "this one"
            )
        plain: dict[str, Any] = content.model_dump(exclude={"format", "kind"})
        if missing := [key for key in cls.required if key not in plain]:
            raise DamagedFileError(path, f"it lacks {', '.join(missing)}", REMEDY)
        if margin is not None:
            plain["margin"] = margin
        try:
            return validated(cls, cls.fields_of(plain))
        except ValueError as error:
            raise DamagedFileError(path, str(error), REMEDY) from None

    def joined(self: Of, existing: Of | None, folder: Path) -> Of:
        """Return this study with the arms and seeds of the one that its folder already holds.

        Raises:
            OtherStudyError: if the folder holds a study of other runs.
        """
        if existing is None:
            return self
        from ..data.sources import without_budget

        old, new = ({**study.plain(), "data": without_budget(study.data)} for study in (existing, self))
        # Of both, as a design leaves out labels where it has none.
        differing = [
            key for key in new | old if key not in {*_JOINED, *_REPORTED} and old.get(key) != new.get(key)
        ]
        if differing:
            raise OtherStudyError(
                f"{folder} holds another study (it differs in {', '.join(differing)}): "
                "give another folder with --out, or delete this one"
            )
        whole: Any = self  # a dataclass, as all of its kinds are
        return replace(
            whole,
            **{
                key: _union(getattr(existing, key), getattr(self, key))
                for key in _JOINED
                if hasattr(whole, key)
            },
            title=self.title or existing.title,
        )

    def reserve(self, folder: Path) -> Self:
        """Make a folder this study's; arms and seeds that the folder already holds stay in the study.

        Raises:
            OtherStudyError: if it holds a study of other runs.
            OSError: if it cannot be written.
        """
        merged, path = self.joined(self.read(folder, self.margin), folder), folder / FILE
        # The file itself, since a margin that it cannot have is passed over where another one is given.
        written = (
            read_yaml(path, _StudyFile, REMEDY).model_dump(exclude_unset=True) if path.exists() else None
        )
        try:
            if written != merged.plain():
                write_yaml(path, merged.plain())
        except OSError as error:
            raise unwritable(folder, error) from error
        return merged


def _recipe_of(value: object) -> object:
    """Read a recipe that is given by its name or its file."""
    if isinstance(value, str | os.PathLike):
        return load_recipe(value)
    if isinstance(value, Mapping):
        raise ValueError(
            "must be a recipe, its name or its file; change one by "
            f"recipes.override(recipes.load('cpu'), {dict(value)})"
        )
    return value


@form(frozen=True, config=FORM)
class Design(FolderDesign):
    """A study before it is run, and the form of its options: the command line, Python and ``study.yaml`` fill it.

    Arms, data, recipe, budget, search and seeds make the runs what they are. The margin is read by the summary
    alone, and a finished study can be given another.

    Attributes:
        added: the arms that joined by themselves, see `counterpoint.study.as_it_came`.
    """

    kind = "training"
    required = ("arms", "data", "seeds", "budget", "tune", "tasks", "recipe")

    arms: Annotated[Names, Positional()] = ()
    """Methods (see: counterpoint list methods), with options after commas: slip,ssl_weight=0.5; pretrained towers:
    open_clip:ViT-B-32@PATH,tune=lora; your own loss: ./my_loss.py:MyLoss. {seed} in an arm is the seed
    of its run."""
    data: Annotated[str, BeforeValidator(together), Field(description=MIXED)] = "emoji"
    seeds: Annotated[Seeds, ParsedField(int, 3)] = (0, 1, 2)
    """Seeds per arm, given as a number. From 5 on, verdicts can be more than suggestive."""
    recipe: Annotated[Recipe, BeforeValidator(_recipe_of)] = field(default_factory=lambda: load_recipe())
    """A recipe by name (counterpoint list recipes) or a YAML file; the options below change it."""
    budget: Budget = "steps"
    """Budget that is the same for every arm: optimiser steps, passes through the tower of pictures (through the first
    one that is of no texts where there are no pictures) and of pairs through a joint encoder, or time."""
    tune: Annotated[Natural, Field(strict=True)] = 0
    """Trials per arm of a random search on validation, or on parts of the shots (learning rate, temperature,
    loss weight)."""
    margin: Margin = 0.01
    """Margin of equivalence: differences within ± this margin are called equivalent."""
    tasks: Names = ()
    """Evaluation tasks, with options behind commas: few_shot,ways=10. Unless given: retrieval, zero_shot, probe, shift,
    as far as the data has labels for them, and multi_label or regression where --labels names tags or numbers."""
    labels: Labelled = ""
    """Label of the data that methods which learn from labels learn from (cross-entropy, supcon, late …), with what is
    to be wrong with it in training: share=0.1 shows it in a tenth of the rows, noise=0.2 gives a fifth of these another
    class (kind=similar: the most similar one, by small pictures or encoder=MODEL), imbalance=100 thins classes,
    missing=0.4 hides tags, known=0.1 most of their cells, new=0.5 takes half of the classes out of training."""
    shots: tuple[int, ...] = ()
    """Rows of each class to train on: arms are compared at each of these numbers."""
    from_: str = ""
    """Model that every arm goes on from: a run's folder, or open_clip:ViT-B-32@FILE."""
    title: str = ""
    """Title of the report page; the question of the study unless given."""
    added: Annotated[Names, ComputedField()] = ()

    def __post_init__(self) -> None:
        if not self.arms:
            raise ValueError("a study needs at least one arm, for example: counterpoint compare clip slip")
        super().__post_init__()

    def spelled_out(self) -> Self:
        """Return the design with arms that state their shots and the model that they go on from.

        Raises:
            ValueError: for an arm that states one of them itself.
        """
        arms = []
        for shots in self.shots or (None,):
            stated = {"from": self.from_ or None, "shots": shots}
            for arm in self.arms:
                spec = Spec.parse(arm)
                added = {option: str(value) for option, value in stated.items() if value is not None}
                if twice := added.keys() & spec.options.keys():
                    option = min(twice)
                    raise ValueError(f"arm {arm!r} and --{option} both say {option}: leave one of them out")
                arms.append(str(Spec(spec.name, {**spec.options, **added})))
        return replace(self, arms=tuple(arms), shots=(), from_="")

    def run(self, arm: str, seed: int, plan: ArmPlan) -> Run:
        """Return the run of one arm and seed."""
        from ..training.run import Run

        recipe = override(self.recipe, {**plan.changes, "steps": plan.steps})
        return Run(of_seed(with_options(arm, plan.options), seed), self.data, recipe, seed, self.labels)

    @property
    def judge(self) -> str:
        """The task that judges the trials of a search by folds: the first of the study's that needs a label alone.

        Raises:
            ValueError: if there is none.
        """
        for task in self.tasks:
            if Spec.parse(task).name in _JUDGES:
                return task
        raise ValueError(
            f"tune={self.tune} judges folds of the shots by {listing(_JUDGES, 'or')}: add one of them to tasks"
        )

    def folds_of(self, arm: Arm) -> int:
        """Return the number of folds of an arm's shots that judge its trials; 0 for an arm without shots.

        Raises:
            ValueError: for a search with one shot, of which no part can be held out.
        """
        labels = self.labels or arm.labels
        shots = arm.shots or (Labelling.parse(labels).shots if labels else None)
        if self.tune and shots == 1:
            raise ValueError(
                f"tune={self.tune} holds parts of the shots out, and {arm.spec!r} has one row of each class: take "
                "shots of 2 or more, or leave tune out"
            )
        return min(shots or 0, FOLDS)

    def is_fixed(self, arm: str) -> bool:
        """Return whether an arm is the same model under every seed."""
        return is_fixed(arm) and of_seed(arm, 0) == arm

    def seeds_of(self, arm: str) -> tuple[int, ...]:
        """Return the seeds that an arm runs under: all, or the first one where nothing is trained."""
        return self.seeds[:1] if self.is_fixed(arm) else self.seeds

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
            **({"labels": self.labels} if self.labels else {}),
            **({"title": self.title} if self.title else {}),
            **({"added": list(self.added)} if self.added else {}),
            "recipe": self.recipe.model_dump(),
        }

    @classmethod
    def fields_of(cls, plain: dict[str, Any]) -> dict[str, Any]:
        try:
            return plain | {"recipe": parse(plain["recipe"])}
        except ValueError as error:
            raise ValueError(f"recipe: {error}") from None


class DesignOptions(TypedDict, total=False):
    """The options of a `Design` as Python gives them: a number for the first seeds, a name for a recipe."""

    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    seeds: int | Sequence[int]
    recipe: str | os.PathLike[str] | Recipe
    budget: Budget
    tune: int
    margin: float
    tasks: Sequence[str] | None
    labels: str
    shots: Sequence[int]
    from_: str
    title: str


def check_names(design: Design) -> None:
    """Refuse arms and tasks that there are none of, without loading torch.

    Raises:
        UnknownNameError: for an unknown method or task; the message gives the nearest one.
        ValueError: for an arm that cannot be read.
    """
    from ..evaluation import check_name
    from ..methods.arm import Arm

    for arm in design.arms:
        Arm.parse(of_seed(arm, design.seeds[0]))
    for task in design.tasks:
        check_name(task)


def check_options(design: Design) -> None:
    """Refuse options that a method of the design does not take; loads torch and the methods, and no data.

    Raises:
        UnknownNameError: for an unknown option; the message gives the nearest one.
        ValueError: for a value of another type.
    """
    from ..methods.arm import Arm

    for arm in design.arms:
        Arm.parse(of_seed(arm, design.seeds[0])).check_options()


def kind_of(folder: Path) -> str | None:
    """Return the kind of study that a folder holds, ``"training"`` or ``"decoding"``; None where there is none.

    Raises:
        DamagedFileError: if ``study.yaml`` cannot be read.
    """
    path = folder / FILE
    return read_yaml(path, _StudyFile, REMEDY).kind if path.exists() else None


def filled_by_user(form: type[T], options: Mapping[str, Any]) -> T:
    """Return a design filled with what a Python call says.

    Raises:
        ValueError: for a value that an option cannot take, and for the command line's name of the folder.
    """
    if "out" in options:
        raise ValueError("there is no option out: name the study's folder with folder=")
    given(*options.values())
    return validated(form, options)


def _union(first: Sequence[T], second: Sequence[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys([*first, *second]))


def with_options(arm: str, options: Mapping[str, Any]) -> str:
    """Add further options to an arm.

    >>> with_options("slip", {"ssl_weight": 0.5})
    'slip,ssl_weight=0.5'
    """
    return ",".join([arm, *(f"{k}={v}" for k, v in options.items())])
