"""The start of a run: its method, its batches and their order, as its recipe and its data make them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from ..data.base import Data, Rows
from ..data.loading.loader import Loader
from ..data.loading.mixed import Mixture
from ..data.loading.order import Order, SequentialOrder, ShuffledOrder, WindowedOrder
from ..data.loading.sampled import SampledOrder, Streams
from ..data.loading.samplers import NATURAL, streams
from ..data.source import is_of_python, load_any
from ..files import FORMAT, latest_checkpoint, read_json, run_of, write_json
from ..methods.arm import Arm
from ..methods.base import Method
from ..methods.tower_method import TowerMethod
from ..modalities import MODALITIES
from ..networks.base import INPUTS, FittedInput, Tower
from ..networks.state.queue import Queue
from ..networks.weights import restored
from ..pairwise.ranks import Ranks
from ..reasons import counted
from ..recipes import override
from .drawn import drawn
from .folder import is_checkpoint, remedy
from .run import OtherRunError, Run, data_of
from .saving import checkpoint as checkpoints
from .speed.compiled import compile_blocks
from .speed.feature_cache import remember
from .speed.recompute import recompute
from .trained import trained_rows

_LOG = logging.getLogger(__name__)


def with_steps(run: Run, data: Data) -> Run:
    """Return the run with the number of steps that its recipe comes to on its data.

    Where they follow the data the method is built, to know its passes of an example through a tower.
    """
    if run.recipe.steps is not None:
        return run
    method, loader = prepare(run, data)
    passes = max(method.passes().values(), default=1) or 1  # of a method whose run takes no step
    rows = trained_rows(run.arm, drawn(run, data))
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
        ValueError: for workers where a file of Python defines the data, and a queue that was asked for and is longer
            than the rows.
    """
    if run.recipe.workers and is_of_python(run.data):
        raise ValueError(
            f"workers={run.recipe.workers}: batches of {run.data} can be prepared in the run's own process alone, "
            "as others cannot import what a file of Python defines; set workers to 0"
        )
    data = drawn(run, data)
    rows, ranks = trained_rows(run.arm, data), Ranks.present()
    # What a method takes from the batch, a bias that suits it, must be of the batch that there is.
    recipe = run.recipe.model_copy(update={"batch_size": min(run.recipe.batch_size, max(len(rows), 1))})
    run = replace(run, recipe=recipe).on(data)
    method = build(run, data.examples(), folder, len(rows))
    if method.regroups and (data.splits.sources or data.splits.tasks or len(data.shards)):
        raise ValueError(
            f"arm {run.arm!r} makes batches of groups that it finds, and the rows of {data.name!r} come in an order of "
            "their own: give it data that is read at random"
        )
    steady = remember(method, recipe, len(rows)) if recipe.towers.keep else {}
    if recipe.compile:
        compile_blocks(method)
    if recipe.recompute:
        recompute(method)
    learned = [*([run.target.label] if run.target else []), *Arm.parse(run.arm).further]
    # Nouns are there where they are learned alone.
    labels = {**data.labels, **{name: data.label(name) for name in learned}}
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
        labels=labels,
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
        UnknownNameError: for a sampler, and a label that the data does not have.
        LabelTypeError: for a label that is neither classes nor tags.
    """
    if sampler != NATURAL and (data.splits.sources or len(data.shards)):
        raise ValueError(
            f"sampler={sampler}: {data.name!r} is {'mixed' if data.splits.sources else 'read shard by shard'}, so that "
            "its rows come in an order of their own: give the arm sampler=natural"
        )
    grouped = None if sampler == NATURAL else data.label(label, "classes", "tags")

    def ordered(rows: Rows) -> Order:
        if grouped is None:
            return ShuffledOrder(rows, batch_size, seed)
        classes, each = grouped.values[rows], streams(sampler)
        if len(each) > 1:
            return Streams.of(rows, classes, each, batch_size, seed)
        return SampledOrder(rows, classes, each[0], batch_size, seed)

    if data.splits.sources:
        return Mixture.of(data.splits, rows, batch_size, seed)
    if len(data.shards):
        return WindowedOrder(data.shards, batch_size, seed)
    if tasks := data.splits.tasks:
        return SequentialOrder([ordered(task[np.isin(task, rows)]) for task in tasks])
    return ordered(rows)


def build(
    run: Run, examples: Mapping[str, Any], folder: Path | None = None, rows: int | None = None
) -> TowerMethod:
    """Build the run's method at its start, with the towers' inputs as an earlier start left them in its folder.

    Args:
        run: whose method it is.
        examples: see `Arm.build`.
        folder: of the run, where an earlier start may have left a tokenizer.
        rows: to train on, which a queue is no longer than; None where nothing is trained.

    Raises:
        ValueError: for a queue that was asked for and is longer than the rows, unless the run has begun with it.
    """
    arm = Arm.parse(run.arm)
    method = arm.build(run.recipe, examples, run.seed, folder, run.columns, run.target)
    queues = [module for module in method.modules() if isinstance(module, Queue)]
    longest = max(map(len, queues), default=0)
    most = max((rows or 0, *(queue.smallest for queue in queues)))
    # A loss of the user's own calls its queue what it likes, and answers for it.
    if rows is None or longest <= most or arm.loss is not None:
        return method
    begun = folder is not None and latest_checkpoint(folder / "checkpoint") is not None
    # Rows would stand in it several times over, with keys of ever older weights; some such queues never fill.
    if "queue" in arm.stated(run.recipe):
        if begun:
            return method
        raise ValueError(
            f"arm {run.arm!r}: a queue of {longest:,} keys is longer than the {counted(rows, 'row')} to train on; "
            f"give queue={most} or less, or leave it out"
        )
    if not begun:
        _say_cut(run.arm, most, longest, rows)
    shorter = replace(arm, options={**arm.options, "queue": str(most)})
    return shorter.build(run.recipe, examples, run.seed, folder, run.columns, run.target)


@cache
def _say_cut(arm: str, most: int, usual: int, rows: int) -> None:
    """Say once, and not again for every run of an arm, that its queue is as long as the rows are many."""
    _LOG.info(
        "arm %s: a queue of %s keys in place of the usual %s, as there are %s to train on",
        *(arm, f"{most:,}", f"{usual:,}", counted(rows, "row")),
    )


def keep_inputs(method: Method, folder: Path) -> None:
    """Write what the towers' inputs learned of the data, a tokenizer say, into ``inputs/`` of a run's folder."""
    # Also those of towers that read no column but names of classes.
    towers = [module for module in method.modules() if isinstance(module, Tower)]
    for made in (*method.inputs.values(), *(tower.input for tower in towers)):
        if isinstance(made, FittedInput):
            (folder / INPUTS).mkdir(parents=True, exist_ok=True)
            made.save(folder / INPUTS / made.file)


class _OrderFile(BaseModel):
    """``order.json``: what an order says of itself."""

    model_config = ConfigDict(extra="allow")
    format: int
    order: str


def keep_order(order: Order, folder: Path) -> None:
    """Write the order of a run's examples into its folder, or check that it is the one that is there.

    Raises:
        OtherRunError: if the run began in another order, since its data have other rows or other shards now.
        DamagedFileError: if ``order.json`` cannot be read.
    """
    path, now = folder / "order.json", {"format": FORMAT, **order.settings()}
    began = read_json(path, _OrderFile, remedy(folder)).model_dump() if path.exists() else now
    if began != now:
        raise OtherRunError(
            f"{folder} began in another order of examples ({began}) than its data has now ({now}): give it the data "
            "that it began with, or choose another folder"
        )
    write_json(path, now)


def _saved(folder: Path, chosen: Path | None) -> checkpoints.Checkpoint | None:
    """Read the chosen checkpoint, or the newest one of a folder; None where there is none.

    Raises:
        CheckpointError: if it is damaged.
    """
    while (path := chosen or latest_checkpoint(folder)) is not None:
        try:
            return checkpoints.load(folder, optimizer=False, chosen=path)
        except checkpoints.CheckpointError:
            # The run, which is still being trained, deletes its older checkpoints; a newer one is complete by then.
            if chosen is not None or latest_checkpoint(folder) == path:
                raise
    return None


def load(folder: str | os.PathLike[str]) -> TowerMethod:
    """Load the trained model of a run folder, or of one of its checkpoints, ready to ``embed``.

    The files of weights that its towers started from are not needed any more; a folder that a ``transformers`` or
    ``open_clip`` tower was built from is, for its configuration.

    Raises:
        ValueError: if the folder is no run folder, holds no checkpoint yet, or one of weights that are not finite.
        CheckpointError: if the checkpoint is damaged. An earlier one is another model, and is not read in its place.
    """
    path, chosen = Path(folder), None
    if is_checkpoint(path):
        path, chosen = run_of(path), path
    run = Run.read(path)
    saved = _saved(path / "checkpoint", chosen)
    if saved is None:
        raise ValueError(f"{path} has no checkpoint yet: the run was stopped before its first one")
    if any(modality not in MODALITIES for modality in run.columns.values()):
        load_any(data_of(path))  # the file that defines the data registers its modalities
    # No file of weights is read: the checkpoint holds them all, and the files may be gone.
    with restored():
        method = build(run, {}, path)
    checkpoints.restore(saved, method, None)
    broken = [name for name, weight in method.named_parameters() if not weight.isfinite().all()]
    if broken:
        raise ValueError(
            f"{path} holds {len(broken)} weights with NaN or infinity (first: {broken[0]}): its training diverged; "
            "train again with a smaller learning rate"
        )
    return method.eval()
