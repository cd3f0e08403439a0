"""From methods and a model to verdicts: does decoding this way help, and what does it cost?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from ...data.pictured import PairedData
from ...data.source import short_name
from ...evaluation import DEFAULT_ANSWERING
from ...evaluation.task import NotApplicableError
from ...execution import Executor, Listener, Local, NullListener, ResourceRequest, leased
from ...execution.executors import LOCAL, executor_of
from ...files import write_json
from ...training.record.environment import environment
from ..agreement import check_made_of_the_same
from ..damage import is_damaged
from ..design import filled_by_user
from ..gate import check_folder
from ..schema import DecodingSummary
from ..study import DryRunExit, OnCost, Study, carry_out, finish, folder_of
from . import model as models
from .arm import DecodingArm
from .cost import Estimate, estimate
from .design import DecodingDesign, DecodingOptions, check_names
from .units import Asking, Session, Tests, applies, data_of, tests, units

_SIDE = 96
"""Side of the pictures, in pixels, for a model that is given as a function."""


def compare_decoding(
    *methods: str,
    model: str | os.PathLike[str] | models.Assistants,
    batch_size: int = 16,
    jobs: int = 1,
    executor: str | Executor = LOCAL,
    needs: ResourceRequest | None = None,
    folder: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
    on_cost: OnCost[DecodingDesign, Estimate] | None = None,
    **options: Unpack[DecodingOptions],
) -> Study[DecodingSummary]:
    """Ask one vision-language model the same questions, decoded by each method, and say what each is worth.

    Every method is compared with plain sampling and with its own plausibility rule at contrast 0, so that what the rule
    does is not credited to the contrast. Both baselines come by themselves.

    Args:
        methods: by name, with options after commas (``"vcd,alpha=0.5"``); two at once with ``+``.
        model: a path or hub name of a vision-language model, or a function from a decoding method to an assistant.
        batch_size: prompts that are decoded at once.
        jobs: units at a time; above 1 each has a process of its own, with the model.
        executor: where units are carried out: ``"local"``, ``"ray"`` or an executor (`counterpoint.execution`).
        needs: what a unit needs.
        folder: of the study; finished units in it are not repeated. ``runs/MODEL-DATA-METHODS`` unless given.
        listener: told how it goes.
        on_cost: told what is left to do and what it will take, before it starts; a False stops it there.
        options: ``data``, ``tasks``, ``seeds``, ``limit``, ``temperature``, ``max_new_tokens``, ``margin`` and
            ``title``: the fields of `counterpoint.study.decoding.design.DecodingDesign`, which has their meanings and
            defaults. ``seeds`` says how many or which.

    Raises:
        ValueError: for an unknown method, task or data set, a model that takes no pictures, or an arm that a task does
            not give what it needs, before anything is written.
        OtherStudyError: if the folder holds another study.
        DryRunExit: if ``on_cost`` said False.
        HandedOver: if others go on with the study after this call, as in jobs of SLURM.
    """
    named = (
        model
        if isinstance(model, str | os.PathLike)
        else getattr(model, "__qualname__", type(model).__qualname__)
    )
    design = filled_by_user(DecodingDesign, {"arms": methods, "model": named, **options})
    assistants = None if isinstance(model, str | os.PathLike) else model
    return conduct(
        design,
        folder,
        assistants,
        batch_size=batch_size,
        jobs=jobs,
        executor=executor,
        needs=needs,
        listener=listener,
        on_cost=on_cost,
    )


def conduct(
    design: DecodingDesign,
    folder: str | os.PathLike[str] | None = None,
    model: models.Assistants | None = None,
    *,
    batch_size: int = 16,
    jobs: int = 1,
    executor: str | Executor = LOCAL,
    needs: ResourceRequest | None = None,
    listener: Listener | None = None,
    on_cost: OnCost[DecodingDesign, Estimate] | None = None,
) -> Study[DecodingSummary]:
    """Carry out a study; see `compare_decoding`. The model is loaded from where the design says, unless given."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    check_names(design)
    needs = needs or ResourceRequest()
    chosen = Local(jobs) if executor == LOCAL else executor_of(executor, needs)
    listener = listener or NullListener()
    arms = {arm.spec: arm for arm in map(DecodingArm.parse, design.arms)}
    design = replace(
        design,
        arms=tuple(arms),
        image_size=_SIDE if model is not None else models.picture_size(design.model),
        weights="" if model is not None else models.weights_mark(design.model),
    )
    data = data_of(design)
    rows = tests(data, design.limit)
    design = replace(design, tasks=_applying(design.tasks, data, rows))
    slugs = (arm.slug for arm in arms.values())
    path = folder_of(folder, [Path(design.model).name, short_name(design.data), *slugs])
    check_folder(path)
    design = design.joined(DecodingDesign.read(path, design.margin), path)
    session = Session(design, batch_size, model)
    if model is not None and executor != LOCAL:
        session.plain()  # refuses what no other process can load
    whole = [Asking(unit, session, needs) for unit in units(design, path)]
    check_made_of_the_same(whole, data, path)
    left = [asking for asking in whole if not asking.unit.finished or is_damaged(asking)]
    estimates: dict[str, Estimate] = {}
    if left:
        listener.begin(f"loading {design.model} and timing a few replies of each arm", ())
        estimates = estimate(design, [asking.unit for asking in left], session.assistants, data, rows)
    if on_cost is not None and not on_cost(design, estimates):
        raise DryRunExit
    with leased(path, wait=True):
        design.reserve(path)
        if left or not (path / "environment.json").exists():
            write_json(path / "environment.json", environment())
    carry_out("asking", whole, path, chosen, listener)
    return finish(design, path)


def _applying(tasks: Sequence[str], data: PairedData, rows: Tests) -> tuple[str, ...]:
    """Return the tasks that are asked for, or of the usual ones those that the data has something for."""
    for task in tasks:
        if not applies(task, data, rows):
            raise NotApplicableError(f"{data.name!r} has nothing that {task} asks about: leave the task out")
    if tasks:
        return tuple(tasks)
    usual: tuple[str, ...] = ()
    for task in DEFAULT_ANSWERING:
        with suppress(ValueError):  # some tasks want more of questions than that they are there
            usual += (task,) * applies(task, data, rows)
    if not usual:
        raise NotApplicableError(
            f"{data.name!r} has nothing that any of {', '.join(DEFAULT_ANSWERING)} asks about: give data with "
            "questions, such as scenes:cooccurrence"
        )
    return usual
