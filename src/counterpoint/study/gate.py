"""The gate before the first step: mistakes are said before a folder is taken or an arm is timed."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from ..data.base import Data, Examples
from ..data.columns import ANY, fits, named, subject
from ..evaluation import DEFAULT_PAINTING, Task, create, default_tasks
from ..evaluation.task import ClassifierTask, ModelKind, check_asks, check_data, check_rows, is_classifier
from ..execution import ResourceRequest
from ..methods.arm import Arm
from ..methods.base import Method
from ..methods.tower_method import TowerMethod
from ..modalities import noun_of
from ..pairwise import Loss
from ..reasons import counted, listing
from ..recipes import Recipe
from ..spec import of_seed
from ..statistics.bootstrap import FEW_EXAMPLES
from ..training.drawn import drawn
from ..training.run import Run, target_of
from ..training.start import build
from ..training.trained import trained_rows
from ..types import PairScorer
from .design import Design, check_names
from .opened import open_data

_LOG = logging.getLogger(__name__)
_CAPTIONS = 1000
"""Captions that a tokenizer is trained on where a model is built only to see that it can be."""


@dataclass(frozen=True)
class PreparedStudy:
    """A study that may begin, with what its names stand for: nothing is parsed, loaded or created a second time.

    Attributes:
        design: the study, with its tasks, and with the arms and seeds that its folder already holds.
        arms: its arms by their names.
        data: the data set that it is about.
        tasks: what its models are asked.
    """

    design: Design
    arms: Mapping[str, Arm]
    data: Data
    tasks: tuple[Task, ...]


def prepare(
    design: Design, folder: Path, *, existing: Design | None = None, known: Collection[str] = ()
) -> PreparedStudy:
    """Check a study before its first step.

    Args:
        design: the study; where it names no tasks, those that its data has something for and all arms can be asked.
        folder: the study's.
        existing: the study that the folder holds.
        known: arms that were checked when they joined the folder; each of the others is built once.

    Raises:
        ValueError: for whatever is wrong; the message names the option, the arm or the split.
        OtherStudyError: if the folder holds a study of other runs.
        OSError: for a folder that cannot be written.
    """
    check_names(design)
    check_folder(folder)
    if (folder / "recipe.yaml").exists():
        raise ValueError(
            f"{folder} holds a single run, and a study needs a folder of its own: give one with --out"
        )
    data = open_data(design)
    arms = _parsed(design)
    if design.tune and (
        closed := [name for name, arm in arms.items() if not design.folds_of(arm) and arm.kind.closed]
    ):
        raise ValueError(
            f"tune={design.tune} searches by the learning curve on validation, and {closed[0]!r} has none: its run "
            "takes no step; name shots, whose folds then judge a search, or leave tune out"
        )
    if not design.tasks:
        design = replace(design, tasks=of_all(data, arms.values(), design.labels))
    if not design.tasks and data.labels:
        kinds = [f"{name} ({label.kind})" for name, label in data.labels.items()]
        raise ValueError(
            f"{design.data} has {listing(kinds)}, which no task asks about that is not named: name what is to be "
            "learned and asked about (--labels NAME), or tasks (--tasks)"
        )
    if not design.tasks:
        raise ValueError(
            f"{design.data} has neither captions nor labels, so that no task can compare models on it: put the files "
            "of a kind into a folder of their own, or give captions (--captions, a table)"
        )
    if design.tune and any(map(design.folds_of, arms.values())):
        _ = design.judge  # is refused here, and not after the search
    design = design.joined(existing, folder)
    arms = _parsed(design)  # others may be in the folder
    tasks = tuple(create(name) for name in design.tasks)
    check_asked(arms.values(), tasks, data)
    check_comparable(arms.values(), tasks, data)
    examples = Examples(data, data.splits.train[:_CAPTIONS])
    new: list[Method] = []
    for name in arms:
        if name not in known:
            first = of_seed(name, design.seeds[0])
            run = Run(first, design.data, design.recipe, labels=design.labels).on(data)
            trained = drawn(run, data)
            rows = len(trained_rows(first, trained))
            new.append(build(run, examples, rows=rows))
            check_batch(new[-1], first, design.recipe, trained)
            new[-1].check_start(rows)
    if not known and not any(map(is_classifier, new)):
        for task in tasks:
            if isinstance(task, ClassifierTask):
                task.check_model(new[0], data)
    return PreparedStudy(design, arms, data, tasks)


def _parsed(design: Design) -> dict[str, Arm]:
    """Return the arms of a design by their names, each under the first seed."""
    return {name: Arm.parse(of_seed(name, design.seeds[0])) for name in design.arms}


def of_all(data: Data, arms: Collection[Arm], labels: str = "") -> tuple[str, ...]:
    """Return the default tasks that the models of all arms can be asked; all of them, where none is, for the error.

    An arm of pictures and sounds beside one of pictures and captions leaves those that need no captions. Arms that all
    learn the classes of one label are asked for these first.
    """
    speaks = all(arm.speaks for arm in arms)
    if arms and all(arm.draws_words for arm in arms):
        return DEFAULT_PAINTING
    tasks = default_tasks(data, classifies=_learn_classes(data, arms, labels), speaks=speaks)
    shared = _of_those(tasks, [arm.embeds(data.columns) for arm in arms])
    if shared and (left := [task for task in tasks if task not in shared]):
        _LOG.info(
            "tasks: %s; left out, since some arms lack a column for them: %s",
            ", ".join(shared),
            ", ".join(left),
        )
    return tuple(shared) or tasks


def _learn_classes(data: Data, arms: Iterable[Arm], labels: str) -> bool:
    """Return whether all arms learn the classes of one label."""
    learned = {target_of(arm, labels, data) if arm.classifies else None for arm in arms}
    return len(learned) == 1 and all(target is not None and target.kind == "classes" for target in learned)


def check_asked(arms: Iterable[Arm], tasks: Sequence[Task], data: Data) -> None:
    """Refuse tasks that cannot be asked of some data or of any arm, and an arm that can be asked none of them.

    Raises:
        ValueError: naming the task, and the arm, the label or the split.
    """
    arms = tuple(arms)
    kinds: list[ModelKind] = ["embedder", "classifier"]
    if any(arm.speaks for arm in arms):
        kinds.append("assistant")
    if any(arm.draws_words for arm in arms):
        kinds.append("painter")
    for task in tasks:
        check_asks(task, *kinds)
        check_data(task, data)
    of_some = {task.name for arm in arms for task in askable(arm, tasks, data)}
    check_modalities(arms[0], [task for task in tasks if task.name not in of_some], data)
    for arm in arms:
        if not (asked := askable(arm, tasks, data)):
            check_modalities(arm, tasks, data)
        check_present(arm, asked, data)
    check_sizes(tasks, data)


def askable(arm: Arm, tasks: Iterable[Task], data: Data) -> list[Task]:
    """Return the tasks that an arm can be asked, by the columns that its model embeds."""
    if arm.draws_words:
        return [task for task in tasks if "painter" in task.asks]
    there = tuple(arm.embeds(data.columns).values())
    asked = [task for task in tasks if fits(task.modalities, there) and "painter" not in task.asks]
    return [task for task in asked if "assistant" not in task.asks or arm.speaks]


def check_folder(folder: Path) -> None:
    """Refuse a folder that could not be made or written.

    Raises:
        OSError: naming what is in the way.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(
            f"cannot write to {folder}: {there} is a file; choose another folder with --out"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(
            f"cannot write to {folder}: {there} is read-only; choose another folder with --out"
        )


def check_file(path: Path) -> None:
    """Refuse a file that could not be written.

    Raises:
        OSError: naming what is in the way.
    """
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; name a file in it with --out")
    check_folder(path.parent)


def check_gpus(needs: ResourceRequest) -> None:
    """Refuse runs that need more GPUs than this machine has.

    Raises:
        ValueError: with the number that there are.
    """
    there = torch.cuda.device_count()
    if needs.gpus > there or needs.nodes > 1:
        raise ValueError(
            f"a run is to have {counted(needs.gpus, 'GPU')} on {counted(needs.nodes, 'machine')}, and here are "
            f"{there} on one: lower --gpus-per-run, or use --executor ray or slurm"
        )


def check_modalities(arm: Arm, tasks: Sequence[Task], data: Data) -> None:
    """Refuse tasks that ask for embeddings which the arm's model will not have."""
    read = arm.embeds(data.columns)
    for task in tasks:
        if not fits(task.modalities, tuple(read.values())):
            possible = _of_those(default_tasks(data), [read])
            raise ValueError(
                f"arm {arm.spec!r} learns from {' and '.join(map(noun_of, read))} alone, and {task.name} "
                f"needs {' and '.join(named(task.modalities, data.columns))} embeddings: "
                + (f"choose --tasks {' '.join(possible)}" if possible else "leave the arm or the task out")
            )


def check_comparable(arms: Iterable[Arm], tasks: Sequence[Task], data: Data) -> None:
    """Refuse arms of which no task asks any two the same, since each works on columns of its own.

    Raises:
        ValueError: naming the arms with their columns, and tasks that would compare them, where the data has some.
    """
    read = {arm.spec: arm.embeds(data.columns) for arm in arms}
    reads = tuple(read.values())
    if len(reads) < 2 or any(_compares(task, reads, data) for task in tasks):
        return
    asked = [task.name for task in tasks]
    verb = "ask" if len(asked) > 1 else "asks"
    listed = "; ".join(f"{spec}: {', '.join(columns)}" for spec, columns in read.items())
    others = [
        name
        for name in _of_those(default_tasks(data), reads)
        if name not in asked and _compares(create(name), reads, data)
    ]
    raise ValueError(
        f"no two of these arms share the columns that {listing(asked)} {verb} about ({listed}): name columns that two "
        "arms have in common" + (f", or choose --tasks {' '.join([*asked, *others])}" if others else "")
    )


def _of_those(tasks: Iterable[str], reads: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the tasks that models of some columns can all be asked."""
    return [
        name
        for name in tasks
        if all(fits(create(name).modalities, tuple(columns.values())) for columns in reads)
    ]


def _compares(task: Task, reads: Sequence[Mapping[str, str]], data: Data) -> bool:
    """Return whether a task asks some two models the same, by the columns that each reads."""
    reads = [columns for columns in reads if fits(task.modalities, tuple(columns.values()))]
    if len(reads) < 2:
        return False
    if set(task.modalities) == {ANY} and len(task.modalities) > 1:
        pairs = Counter(pair for columns in reads for pair in combinations(sorted(columns), 2))
        return max(pairs.values(), default=0) > 1
    if ANY not in task.modalities:
        return True
    # Each is asked about a column of its own, and two are to be asked about the same examples.
    tests = np.concatenate([np.arange(0), *data.splits.test.values()])
    asked = Counter(
        data.present(column, tests).tobytes() for columns in reads if (column := subject(columns))
    )
    return max(asked.values(), default=0) > 1


def check_present(arm: Arm, tasks: Iterable[Task], data: Data) -> None:
    """Refuse a test set where too few rows have two of an arm's columns for a task that asks about pairs of them.

    Raises:
        ValueError: naming the task, the arm with its columns, and the test set.
    """
    read = [column for column in arm.embeds(data.columns) if column in data.columns]
    pairs = tuple(combinations(read, 2))
    of_pairs = [task for task in tasks if task.modalities.count(ANY) == 2]
    for name, rows in data.splits.test.items() if pairs else ():
        there = {column: data.present(column, rows) for column in read}
        most = max(int((there[a] & there[b]).sum()) for a, b in pairs)
        for task in of_pairs:
            if most < task.least <= len(rows):
                raise ValueError(
                    f"{task.name} needs at least {counted(task.least, 'example')} with two of the columns "
                    f"{listing(tuple(read))} of arm {arm.spec!r}, and of the {len(rows)} of test set {name!r} {most} "
                    f"{'has' if most == 1 else 'have'} two: choose other columns for the arm, or leave the arm or the "
                    "task out"
                )


def check_sizes(tasks: Sequence[Task], data: Data) -> None:
    """Refuse splits that are too small for what is asked of them, by their names.

    Raises:
        ValueError: for a test set that is too small for a task, or a validation set for the learning curves.
    """
    for name, rows in data.splits.test.items():
        for task in tasks:
            check_rows(data, rows, task.name, task.least, f"test set {name!r}")
        if len(rows) < FEW_EXAMPLES:
            _say_few(name, len(rows))
    curve = "retrieval" if len(data.columns) > 1 else "probe"
    for name, rows in data.splits.validation.items():
        check_rows(data, rows, "a learning curve", create(curve).least, f"validation set {name!r}")


@cache
def _say_few(test: str, rows: int) -> None:
    """Say once, before hours of training, that a test set is too small for any verdict."""
    few = counted(rows, "example")
    _LOG.info("test set %r has %s: fewer than %d show no difference", test, few, FEW_EXAMPLES)


def check_batch(method: Method, arm: str, recipe: Recipe, data: Data) -> None:
    """Refuse a batch of one where a loss tells examples of a batch apart; say where data is smaller than a batch.

    Raises:
        ValueError: naming the arm and what to change.
    """
    trained = trained_rows(arm, data)
    rows = min((int(np.isin(task, trained).sum()) for task in data.splits.tasks), default=len(trained))
    batch = min(recipe.batch_size, rows)
    if batch < 2 and any(isinstance(module, Loss) and module.pairwise for module in method.modules()):
        why = (
            f"the training split has {counted(rows, 'row')}"
            if rows < 2
            else "--batch-size must be at least 2"
        )
        raise ValueError(
            f"arm {arm!r} tells the examples of a batch apart, and a batch would hold one: {why}"
        )
    if batch < recipe.batch_size:
        _say_small(rows, recipe.batch_size)


@cache
def _say_small(rows: int, batch_size: int) -> None:
    """Say once, and not again for every arm and run, that a batch holds all rows."""
    _LOG.info("batches hold all %d training rows: the recipe has a batch size of %d", rows, batch_size)


def asked_of(method: Method, tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Return the tasks that a model is asked: those that suit its kind and its embeddings, or all where none does.

    So arms with and without a classifier, a decoder of captions or embeddings of texts stand in one study, whose common
    ground is another task.
    """
    modalities = {view.column: view.modality for view in method.views.values()}
    embedded = tuple(modalities[column] for column in method.embeds if column in modalities)
    scores_pairs = isinstance(method, PairScorer)
    asked = tuple(
        task
        for task in tasks
        if task.can_ask(method) and (fits(task.modalities, embedded) or (task.joint and scores_pairs))
    )
    return asked or tuple(tasks)


def check_model(method: TowerMethod, tasks: Sequence[Task], data: Data) -> None:
    """Refuse a model that a task cannot ask, however it is trained.

    Raises:
        ValueError: naming the task and what the model lacks.
    """
    training = method.training
    method.eval()
    with torch.inference_mode():
        for task in asked_of(method, tasks):
            task.check_model(method, data)
    method.train(training)
