"""The run folder: everything a run was and found."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ..data.base import Data
from ..data.derived.labelling import label_of
from ..data.nouns import NOUNS
from ..data.source import located
from ..data.sources import without_budget
from ..execution.folders import unwritable
from ..files import FORMAT, DamagedFileError, read_json, read_yaml, run_of, write_json, write_yaml
from ..methods.arm import Arm
from ..methods.origin import lend_recipe
from ..methods.tower_names import tower_names
from ..modalities import PAIR
from ..reasons import listing
from ..recipes import Recipe, parse
from ..types import Target
from .folder import is_run, not_a_run, remedy
from .record.environment import Environment, environment


class OtherRunError(ValueError):
    """A folder already holds another run."""


@dataclass(frozen=True)
class Run:
    """A run: one arm on one data set under one recipe with one seed.

    Attributes:
        arm, data: as they are written.
        recipe: of the training.
        seed: of the initial weights, of the order of the data and of every view.
        labels: the label that methods which learn from labels learn from, unless the arm names another, and what is to
            be wrong with it in training (`counterpoint.data.derived.labelling.Labelling`).
        columns: of the data, each with its modality, as the data says when the run begins.
        target: the label that this arm learns from, as the data says when the run begins; None for none.
    """

    arm: str
    data: str
    recipe: Recipe
    seed: int = 0
    labels: str = ""
    columns: Mapping[str, str] = field(default_factory=PAIR.copy, compare=False)
    target: Target | None = field(default=None, compare=False)

    def plain(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "arm": self.arm,
            "data": self.data,
            "seed": self.seed,
            "recipe": self.recipe.model_dump(),
            **({"labels": self.labels} if self.labels else {}),
            **({} if self.columns == PAIR else {"columns": dict(self.columns)}),
            **({} if self.target is None else {"target": asdict(self.target)}),
        }

    def on(self, data: Data) -> Run:
        """Return the run as it is on its data, loaded: with what the data says of columns and classes.

        Where it goes on from another run, its recipe has the towers of that one, and their sizes.

        Raises:
            UnknownNameError: for a label that the data does not have.
            ValueError: for a run to go on from that there is not.
        """
        arm = Arm.parse(self.arm)
        recipe = self.recipe
        if arm.origin and not arm.draws_words:  # which reads a painter, and no towers
            folder = run_of(Path(arm.origin))
            if not is_run(folder):
                raise ValueError(
                    f"arm {self.arm!r}: {arm.origin} is neither a run's folder nor one of its checkpoints"
                )
            recipe = Run.read(folder).lends(recipe, arm.origin, without=arm.kind.tokenized)
        if arm.kind.carries is not None:
            recipe = _with_carried(recipe, arm)
        return replace(
            self, recipe=recipe, columns=dict(data.columns), target=target_of(arm, self.labels, data)
        )

    def lends(
        self, recipe: Recipe, origin: str, modality: str | None = None, without: Collection[str] = ()
    ) -> Recipe:
        """Return another run's recipe with the towers of this one, or with that of one modality; see `lend_recipe`.

        Towers of ``without``, modalities, are not lent, nor those whose tokenizers alone this run has used.
        """
        arm = Arm.parse(self.arm)
        of_recipe, reads = self.recipe.towers.names, arm.reads(self.columns)
        named = tower_names(arm.towers, arm.asked(self.recipe), of_recipe, reads.values())
        names = {modality: named.get(modality, name) for modality, name in self.recipe.towers.names.items()}
        before = self.recipe.model_copy(update={"towers": self.recipe.towers.model_copy(update=names)})
        modalities = {modality} if modality else set(arm.reads(self.columns).values())
        return lend_recipe(recipe, before, modalities.difference(without, arm.kind.tokenized), origin)

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read the run of a folder.

        Raises:
            ValueError: if the folder is no run folder, or one of a newer version.
            DamagedFileError: if ``recipe.yaml`` cannot be read.
        """
        path = folder / "recipe.yaml"
        if not is_run(folder):
            raise ValueError(not_a_run(folder))
        plain = read_yaml(path, _RunFile, remedy(folder))
        try:
            return cls(
                plain.arm,
                plain.data,
                parse(plain.recipe),
                plain.seed,
                plain.labels,
                plain.columns,
                plain.target,
            )
        except ValueError as error:
            raise DamagedFileError(path, str(error), remedy(folder)) from None

    def check(self, folder: Path) -> None:
        """Check that a folder holds this run; one that its budget for broken examples ended may go on with another.

        Raises:
            OtherRunError: if it holds another one.
        """
        there = Run.read(folder)
        began, now = (replace(run, data=without_budget(run.data)) for run in (there, self))
        arm = Arm.parse(now.arm)
        if arm.origin or arm.kind.carries:  # its towers are those of another run, which may be gone
            now = replace(now, recipe=_with_towers(now.recipe, there.recipe))
        if began != now:
            raise OtherRunError(
                f"{folder} holds another run ({there.arm}, data {there.data}, seed {there.seed}, "
                f"or another recipe): choose another folder, or delete this one"
            )

    def reserve(self, folder: Path) -> None:
        """Make a folder this run's, or check that it already is; to be called before a run begins or goes on.

        Warns:
            UserWarning: if the run began under another version of counterpoint or torch.

        Raises:
            OtherRunError: if it holds another run.
        """
        if (folder / "recipe.yaml").exists():
            self.check(folder)
            _check_versions(folder)
        try:
            # Again where the run goes on: a folder that cannot be written is refused before any step.
            write_yaml(folder / "recipe.yaml", self.plain())
            made = environment()
            write_json(
                folder / "environment.json", made | {"threads": self.recipe.threads or made["threads"]}
            )
        except OSError as error:
            raise unwritable(folder, error) from error


def _with_carried(recipe: Recipe, arm: Arm) -> Recipe:
    """Return a recipe with the tower that an arm's method takes over from another model.

    Raises:
        ValueError: for a model that has no such tower.
    """
    assert arm.kind.carries is not None
    option, modality = arm.kind.carries
    named = arm.stated(recipe).get(option, "")
    folder = run_of(Path(named))
    if is_run(folder):
        other = Run.read(folder)
        if modality not in Arm.parse(other.arm).embeds(other.columns).values():
            raise ValueError(
                f"arm {arm.spec!r}: {named} has no tower of {modality}; name a run of a method of several columns"
            )
        widths = recipe.widths
        return other.lends(recipe, named, modality).model_copy(update={"widths": widths})
    if ":" not in named:
        raise ValueError(
            f"arm {arm.spec!r}: {option}={named!r} is neither a run's folder nor a model of a library"
        )
    return recipe.model_copy(update={"towers": recipe.towers.model_copy(update={modality: named})})


def _with_towers(recipe: Recipe, of: Recipe) -> Recipe:
    """Return a recipe with the towers of another one, and the width of its space."""
    here = recipe.towers
    towers = of.towers.model_copy(update={"tune": here.tune, "keep": here.keep})
    widths = recipe.widths.model_copy(update={"embedding": of.widths.embedding})
    return recipe.model_copy(update={"towers": towers, "widths": widths})


class _RunFile(BaseModel):
    """``recipe.yaml``."""

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    arm: str
    data: str
    seed: int
    recipe: dict[str, Any]
    labels: str = ""
    columns: dict[str, str] = PAIR
    target: Target | None = None


def data_of(folder: Path) -> str:
    """Return where the data of a run is now, also for a relative path and another working directory.

    Raises:
        FileNotFoundError: if it is not to be found.
    """
    began = Environment.read(folder).folder if (folder / "environment.json").exists() else None
    return located(Run.read(folder).data, began)


@dataclass(frozen=True)
class RunState:
    """``run.json``: how far a run came and what it cost.

    Attributes:
        passes: of examples through towers, by modality (momentum copies counted); of looks that are taken once those of
            the whole run, from its start on.
        seconds: of training, in all processes that the run took.
        waiting_seconds: of these, those that it waited for data.
        evaluation_seconds: of the evaluation at its end.
        rows: that it trained on.
        left_out: rows to train on that lack a column which its method reads and cannot do without.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    status: Literal["running", "finished", "failed"] = "running"
    reason: str = ""
    steps: int = 0
    images_seen: int = 0
    passes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    waiting_seconds: float = 0.0
    peak_memory_bytes: int = 0
    parameters: int = 0
    trained_parameters: int = 0
    evaluation_seconds: float = 0.0
    rows: int = 0
    left_out: int = 0

    @classmethod
    def read(cls, folder: Path) -> RunState | None:
        """Read the state of a run; None where there is none.

        Raises:
            DamagedFileError: if ``run.json`` cannot be read.
        """
        path = folder / "run.json"
        return read_json(path, cls, remedy(folder)) if path.exists() else None

    def write(self, folder: Path) -> None:
        write_json(folder / "run.json", asdict(self))

    def failed(self, reason: str) -> RunState:
        return replace(self, status="failed", reason=reason)


def target_of(arm: Arm, labels: str, data: Data) -> Target | None:
    """Return the label that an arm learns from: its own, or that of all arms, or its method's; None where none has one.

    Data without the label of its method may have one label alone that the arm can learn from, which is that then.

    Raises:
        UnknownNameError: for a label that the data does not have.
        LabelTypeError: for a label of a kind that the arm's method does not learn from.
        ValueError: for one that the data might have had, where the message says why it has not; and where nobody names
            one of several.
    """
    for name, kinds in arm.further.items():
        data.label(name, *kinds)
    label = arm.labels or label_of(labels) or _usual(arm, data)
    if not label:
        return None
    column = data.label(label, *arm.learns)
    return Target(label, column.names, column.kind)


def _usual(arm: Arm, data: Data) -> str:
    """Return the label that an arm learns from where nobody names one; empty for none, or for what its loss takes."""
    usual = arm.learned()
    if not usual or usual in {NOUNS, *data.labels}:
        return arm.default_label
    if usual in data.refused:
        return usual  # the data says why
    fitting = [name for name, label in data.labels.items() if label.kind in arm.learns]
    if not fitting:
        raise ValueError(f"{arm.spec} learns from a label, and {data.name!r} has none that it can learn from")
    if len(fitting) > 1:
        raise ValueError(f"{arm.spec} learns from a label: name one with --labels, {listing(fitting, 'or')}")
    return fitting[0]


def _check_versions(folder: Path) -> None:
    """Warn where an unfinished run would go on under another version than it began with."""
    state = RunState.read(folder)
    if state is None or state.status != "running" or not (folder / "environment.json").exists():
        return
    began = Environment.read(folder).packages
    for package in ("counterpoint", "torch"):
        now = version(package)
        if began.get(package, now) != now:
            warnings.warn(
                f"{folder} was begun under {package} {began[package]} and goes on under {now}: the result "
                "may differ from an uninterrupted run's",
                stacklevel=3,
            )
