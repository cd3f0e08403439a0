"""One run from nothing to scores: build, train, evaluate, write."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import polars as pl
import torch

from ...data.base import Data
from ...data.derived.drawn import DrawnData
from ...data.derived.mixture import together
from ...data.labels import Classes, Label, Numbers, Tags, of_kind
from ...diagnostics import describe
from ...evaluation import applicable, create, evaluate
from ...evaluation.task import is_classifier
from ...execution import leased
from ...execution.lease import check_held
from ...files import latest_checkpoint, sweep, write_json, write_table
from ...methods.arm import Arm
from ...methods.base import Method
from ...methods.tower_method import TowerMethod
from ...recipes import DEFAULT, Recipe, override
from ...recipes import load as load_recipe
from ...spec import of_seed
from ...training.drawn import drawn
from ...training.loop import TrainingProgress, fit
from ...training.record.peak_memory import PeakMemory
from ...training.record.provenance import Provenance
from ...training.run import OtherRunError, Run, RunState
from ...training.saving.remote import copied
from ...training.sharing.distributed import first_alone, joined
from ...training.sharing.parallel import check_mode
from ...training.start import keep_inputs, keep_order, load, prepare, with_steps
from ...training.trackers import check as check_trackers
from ...training.trained import trained_rows
from ...trust import given
from ...types import Assistant, DrawsWords, NonFiniteLossError
from .. import label_maps, moments
from ..gate import asked_of, check_asked, check_batch, check_folder, check_model
from ..opened import open_data

OnStep = Callable[[TrainingProgress], None]
_PROBES: dict[str, type[Label]] = {"probe": Classes, "multi_label": Tags, "regression": Numbers}
"""Tasks that read labels of a kind from embeddings."""


def run(
    planned: Run,
    folder: Path,
    *,
    tasks: Sequence[str] | None = None,
    on_step: OnStep | None = None,
    test: bool = True,
    track: Sequence[str] = (),
) -> RunState:
    """Train and evaluate one run in its folder; a finished run is returned as it is, a stopped one goes on.

    A run whose loss stops being finite ends as ``failed`` with the reason; that is an outcome, not an exception.
    Under ``torchrun`` all its processes train the run together, and the first alone writes and evaluates.

    Args:
        planned: the run.
        folder: its folder, created if need be.
        tasks: names of evaluation tasks; unless given, the default ones that the arm's model can be asked.
        on_step: called after every training step.
        test: evaluate on the test sets; tuning uses False and reads only the validation numbers.
        track: trackers besides Parquet (`counterpoint.training.trackers`) that its numbers go to.

    Raises:
        OtherRunError: if the folder holds another run.
        UnknownNameError, MissingPackageError: for a tracker that is not there, before anything is trained.
    """
    check_trackers(track)
    with joined():
        return _run(planned, folder, tasks, on_step, test, track)


def _run(
    planned: Run,
    folder: Path,
    tasks: Sequence[str] | None,
    on_step: OnStep | None,
    test: bool,
    track: Sequence[str],
) -> RunState:
    with first_alone() as first:
        if (state := RunState.read(folder)) is not None and state.status != "running":
            sweep(folder)
            planned.check(folder)
            data = open_data(planned)
            Provenance.of(planned, data).check(data, folder)
            return state
        if first:
            check_folder(folder)
        if (folder / "study.yaml").exists():
            raise OtherRunError(
                f"{folder} holds a study, and a run needs a folder of its own: give one with --out"
            )
        test_tasks = [create(name) for name in tasks or ()] if test else []
        data = open_data(planned)
        planned = planned.on(data)
        made_of, whole = Provenance.of(planned, data), data
        made_of.check(whole, folder)
        check_asked([Arm.parse(planned.arm)], test_tasks, data)
        data = drawn(planned, data)
        method, loader = prepare(planned, data, folder)
        data = data.suited(method.inputs)
        check_batch(method, planned.arm, planned.recipe, data)
        if latest_checkpoint(folder / "checkpoint") is None:
            method.check_start(len(trained_rows(planned.arm, data)))
        rows = len(trained_rows(planned.arm, data))
        left_out = len(data.splits.train) - rows
        data = data.evaluated() if isinstance(data, DrawnData) else data
        check_model(method, test_tasks, data)
        check_mode(method, planned.recipe, loader.batch_size)
        if first:  # a run that is refused leaves no folder
            planned.reserve(folder)
            made_of.keep(whole, folder)
            keep_inputs(method, folder)
            keep_order(loader.order, folder)
    if not (folder / "recipe.yaml").exists():
        raise OSError(
            f"{folder}, as the first process has made it, is not to be seen on {socket.gethostname()}: a run on "
            "several machines needs a folder that all of them see; give one with --out"
        )
    memory, earlier = PeakMemory(), RunState.read(folder) or RunState()
    progress = [TrainingProgress(0, planned.recipe.total_steps)]

    def step_done(now: TrainingProgress) -> None:
        progress[0] = now
        if now.step % planned.recipe.checkpoint_every == 0:
            write(account())
        if on_step is not None:
            on_step(now)

    def account() -> RunState:
        now, passes, of_all = progress[0], method.passes(), method.passes_of_all()
        seen = now.step * loader.batch_size
        return RunState(
            parameters=sum(p.numel() for p in method.parameters()),
            trained_parameters=sum(p.numel() for p in method.parameters() if p.requires_grad),
            steps=now.step,
            images_seen=seen,
            rows=rows,
            left_out=left_out,
            passes={
                modality: round(seen * passes.get(modality, 0) + rows * of_all.get(modality, 0))
                for modality in passes | of_all
            },
            seconds=now.seconds,
            waiting_seconds=earlier.waiting_seconds + now.waited,
            peak_memory_bytes=max(memory.read(), earlier.peak_memory_bytes),
        )

    def write(state: RunState) -> RunState:
        if first:
            check_held(folder)
            state.write(folder)
        return state

    write(account())
    try:
        fit(
            method,
            loader,
            planned.recipe,
            folder,
            seed=planned.seed,
            validate=lambda m: validation_numbers(m, data),
            on_step=step_done,
            track=track,
        )
    except NonFiniteLossError as error:
        return write(account().failed(str(error)))
    except BaseException:
        write(account())
        raise
    began = time.perf_counter()
    # Without captions there may be nothing to test on.
    if test and first and any(map(len, data.splits.test.values())):
        # Where the ranks have parts of the method, it is whole in the folder alone.
        trained = load(folder) if planned.recipe.parallel.mode == "fsdp" else method.eval()
        score(trained, data, folder, tasks)
    return write(replace(account(), status="finished", evaluation_seconds=time.perf_counter() - began))


def train(
    method: str,
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = "emoji",
    *,
    recipe: str | Recipe = DEFAULT,
    seed: int = 0,
    labels: str = "",
    folder: str | os.PathLike[str],
    tasks: Sequence[str] | None = None,
    on_step: OnStep | None = None,
    track: Sequence[str] = (),
    parallel: Literal["auto", "ddp", "fsdp"] | None = None,
    sync: str = "",
) -> TowerMethod:
    """Train and evaluate one method in a folder and return the model; the same call goes on where it stopped.

    Args:
        method: a method's name, with options after commas; ``{seed}`` in it stands for the seed.
        data: a data set's name or a path, or several, which are mixed (`counterpoint.data.derived.mixed.MixedData`).
        recipe: a recipe or its name.
        seed: of the initial weights, the order of the data and every view.
        labels: the label for methods that learn from one, and how it is thinned or spoiled in training:
            ``"species,share=0.1,noise=0.2"`` (`counterpoint.data.derived.labelling.Labelling`).
        folder: the run's folder.
        tasks: names of evaluation tasks; unless given, the default ones that the model can be asked.
        on_step: called after every training step.
        track: trackers besides Parquet that the run's numbers go to: ``"tensorboard"``, ``"wandb"``, ``"mlflow"``.
        parallel: the way in which processes that ``torchrun`` started share the model; the recipe's unless given.
        sync: URL that checkpoints and numbers are copied to; a run whose folder is empty begins from there.

    Raises:
        UnknownNameError: for a method, a data set, a recipe, a label, a task or a tracker that does not exist.
        FileNotFoundError: if there is nothing at the path of the data or of the recipe.
        ValueError: for options that cannot be, and data that the method cannot learn from.
        NonFiniteLossError: if the loss stops being finite.
        InUseError: if another process has the folder.
    """
    chosen = load_recipe(recipe) if isinstance(recipe, str) else recipe
    if parallel is not None:
        chosen = override(chosen, {"parallel.mode": parallel})
    given(method, data)
    source = together(data)
    planned = Run(of_seed(method, seed), source, chosen, seed, labels)
    planned = with_steps(planned, open_data(planned))
    with joined(), copied(Path(folder), sync), leased(Path(folder)):
        state = run(planned, Path(folder), tasks=tasks, on_step=on_step, track=track)
    if state.status == "failed":
        raise NonFiniteLossError(state.reason)
    return load(folder)


def score(method: Method, data: Data, folder: Path, tasks: Sequence[str] | None = None) -> None:
    """Evaluate a model on every test set and write ``scores.json``, ``examples.parquet`` and ``diagnostics.json``.

    A task that gives pixels classes leaves ``maps.npz`` as well, and one that asks for moments ``moments.npz``. A model
    that no task can ask about its data has diagnostics alone.
    """
    if tasks is not None:
        tasks = [task.name for task in asked_of(method, [create(name) for name in tasks])]
    with torch.inference_mode():
        results = evaluate(method, data, tasks=tasks)
        inside = {name: describe(method, data, rows) for name, rows in data.splits.test.items()}
    check_held(folder)
    if scores := results.scores():
        write_json(folder / "scores.json", scores)
        write_table(folder / "examples.parquet", with_keys(results.examples(), data))
    if maps := results.maps():
        label_maps.write(folder, maps)
    if found := results.moments():
        moments.write(folder, found)
    write_json(folder / "diagnostics.json", inside)


def with_keys(examples: pl.DataFrame, data: Data) -> pl.DataFrame:
    """Return outcomes with a column ``key``: what the user calls each example."""
    row_of = {int(identity): row for row, identity in enumerate(data.ids)}
    ids = examples["example"].unique()
    keys = [data.key(row_of[i]) if i in row_of else str(i) for i in ids]
    named = pl.DataFrame({"example": ids, "key": pl.Series(keys, dtype=pl.String)})
    return examples.join(named, on="example", how="left", maintain_order="left")


def validation_numbers(method: Method, data: Data) -> dict[str, float]:
    """Return the numbers for learning curves and for tuning, on the validation sets.

    For a model that draws new words where these attend. For a classifier of several columns those of the classes that
    it learns. Else a probe of the label that training learns from, where the data names one, whether or not the method
    learns from labels, so that all are tuned alike. Else retrieval for a method of several columns, and for one of one
    column a probe of classes, of tags or of numbers, whatever there is first. Empty for data without a validation set,
    and for data of one column without labels.
    """
    several = sum(column in data.columns for column in method.embeds) > 1
    if isinstance(method, Assistant):
        task = create("likelihood")
    elif isinstance(method, DrawsWords):
        task = create("drawn,pictures=0")
    elif several and is_classifier(method):
        task = create("classification")
    elif several and not data.learned:
        task = create("retrieval", rerank=0)  # joint scores would cost more than the steps between
    else:
        learned = {name: label for name, label in data.labels.items() if name == data.learned} or data.labels
        read = next((name for name, kind in _PROBES.items() if of_kind(learned, kind)), "probe")
        task = create(read, labels=tuple(of_kind(learned, _PROBES[read])) if data.learned else ())
    if not data.splits.validation or not applicable(data, (task.name,)):
        return {}
    numbers = {}
    with torch.inference_mode():
        results = evaluate(method, data, tasks=(task,), tests=data.splits.validation)
    for row in results.scores():
        if row["subset"] == "all":
            numbers[f"{row['test']}/{row['task']}/{row['metric']}"] = row["value"]
    return numbers
