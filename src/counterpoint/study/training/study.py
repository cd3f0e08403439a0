"""The main job: from methods and data to verdicts on what each trained model can do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Unpack

from ...data.base import Data
from ...data.source import short_name
from ...evaluation import create
from ...execution import Executor, FollowUp, Listener, Local, NullListener, ResourceRequest, WorkList, leased
from ...execution.executors import LOCAL, executor_of
from ...methods.arm import Arm
from ...reasons import counted
from ...recipes import Recipe
from ...spec import Spec, of_seed
from ...training.run import RunState
from ...training.trackers import check as check_trackers
from ..agreement import check_made_of_the_same
from ..as_it_came import with_models_as_they_came
from ..design import ArmPlan, Design, DesignOptions, filled_by_user
from ..gate import askable, check_gpus, prepare
from ..layout import run_folder, trial_folder
from ..opened import open_data
from ..schema import TrainingSummary
from ..study import REPORTED, DryRunExit, OnCost, Study, carry_out, finish, folder_of
from .cost import measure, plan_arms
from .plans import read_plans, write_plans
from .run import TrainingRun
from .tuning import Trial, choose, trials

_SMALL = 30.0
"""Seconds of training below which all runs of a study take turns in this process: others would start for as long."""


def compare(
    *arms: str,
    folder: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    executor: str | Executor = LOCAL,
    needs: ResourceRequest | None = None,
    diagnose: bool = False,
    track: Sequence[str] = (),
    listener: Listener | None = None,
    on_cost: OnCost[Design, ArmPlan] | None = None,
    **options: Unpack[DesignOptions],
) -> Study[TrainingSummary]:
    """Train several methods under one recipe, evaluate them on the same examples, and say which differences are real.

    Args:
        arms: methods by name, with options after commas; pretrained towers; a user's own loss.
        folder: the study's folder; finished runs in it are not repeated. ``runs/DATA-ARMS`` unless given.
        jobs: runs at a time, each in a process with its share of the cores; unless given, one on a GPU and
            up to four on a CPU, where one thread a run is faster than several, and one in a study of seconds.
        executor: where runs are carried out: ``"local"``, ``"ray"`` or an executor (`counterpoint.execution`).
        needs: what a run needs; a processor for each of its threads and workers unless given.
        diagnose: look inside the first finished run of every arm, and link the pages from the report.
        track: trackers besides Parquet that the numbers of its runs go to, each run as one of its own:
            ``"tensorboard"``, ``"wandb"``, ``"mlflow"``.
        listener: gets every event.
        on_cost: called with the steps and the cost of every arm before the study starts; if it returns False, the
            study stops there.
        options: ``data``, ``seeds``, ``recipe``, ``budget``, ``tune``, ``margin``, ``tasks``, ``labels``, ``shots``,
            ``from_`` and ``title``: the fields of `counterpoint.study.Design`, which has their meanings and defaults.
            ``seeds`` says how many or which, ``recipe`` is a recipe, its name or its file.

    Raises:
        FileNotFoundError: if there is nothing at the path of the data or of the recipe.
        ValueError: for every other error that can be known before anything is trained.
        OtherStudyError: if the folder holds another study.
        DryRunExit: if ``on_cost`` said False.
        HandedOver: if others go on with the study after this call, as in jobs of SLURM.
    """
    design = filled_by_user(Design, {"arms": arms, **options})
    return conduct(
        design,
        folder,
        jobs=jobs,
        executor=executor,
        needs=needs,
        diagnose=diagnose,
        track=track,
        listener=listener,
        on_cost=on_cost,
    )


def conduct(
    design: Design,
    folder: str | os.PathLike[str] | None = None,
    *,
    jobs: int | None = None,
    executor: str | Executor = LOCAL,
    needs: ResourceRequest | None = None,
    diagnose: bool = False,
    track: Sequence[str] = (),
    listener: Listener | None = None,
    on_cost: OnCost[Design, ArmPlan] | None = None,
) -> Study[TrainingSummary]:
    """Carry out a study; see `compare`."""
    design = design.spelled_out()
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    check_trackers(track)
    needs = _with_processors(needs or ResourceRequest(), design.recipe)
    elsewhere = None if executor == LOCAL else executor_of(executor, needs)
    if elsewhere is None:
        check_gpus(needs)
    path = folder_of(folder, [short_name(design.data), *(Spec.parse(arm).slug for arm in design.arms)])
    there = Design.read(path, design.margin)
    design = with_models_as_they_came(design, there)
    known = {} if there is None else read_plans(path)
    ready = prepare(design, path, existing=there, known=known)
    design = ready.design
    check_made_of_the_same(
        _runs(design, ready.data, {a: p for a, p in known.items() if a in design.arms}, path, needs),
        ready.data,
        path,
    )
    listener = listener or NullListener()
    at_once = jobs if jobs is not None else default_jobs()
    # Steps that take time elsewhere say nothing here, where there may be no GPU.
    timed = elsewhere is None or design.budget == "time"
    if new := [arm for arm in design.arms if arm not in known]:
        listener.begin(f"{'timing' if timed else 'building'} {counted(len(new), 'arm')}", ())
    measured = partial(measure, ready, jobs=at_once, timed=timed)
    plans = plan_arms(design, known, len(ready.data.splits.train), measured)
    if on_cost is not None and not on_cost(design, plans):
        raise DryRunExit
    chosen = elsewhere or Local(1 if jobs is None and _is_small(design, plans) else at_once)
    # Another command may have joined the folder meanwhile, or may do so at any time.
    with leased(path, wait=True):
        design = design.reserve(path)
        plans |= read_plans(path)
        if plans != known:
            write_plans(path, plans)
    if searches := _searches(design, plans, path):
        work = [unit for arm, search in searches.items() for unit in search.runs(design, arm, needs)]
        carry_out("tuning", work, path, chosen, listener, FollowUp("training", {"track": list(track)}))
        plans = _chosen(searches, path)
    runs = _runs(design, ready.data, {arm: plans[arm] for arm in design.arms}, path, needs, tuple(track))
    carry_out("training", runs, path, chosen, listener)
    if diagnose:
        _look_inside(path, design)
    return finish(design, path)


def _with_processors(needs: ResourceRequest, recipe: Recipe) -> ResourceRequest:
    """Return what a run needs, with a processor for each thread and worker of its processes."""
    each = max(recipe.threads, 1) + recipe.workers
    return replace(needs, cpus=max(needs.cpus, each * max(needs.gpus, 1)))


def go_on(folder: Path, track: Sequence[str]) -> None:
    """Take the step between a search and the runs where others have searched: choose, and list the runs."""
    design = Design.read(folder)
    assert design is not None  # whoever listed the trials wrote it
    listed = WorkList.read(folder)
    if listed.then.more:  # else another process has taken the step
        plans = _chosen(_searches(design, read_plans(folder), folder), folder)
        needs = listed.orders[0].needs
        wanted = {arm: plans[arm] for arm in design.arms}
        runs = _runs(design, open_data(design), wanted, folder, needs, tuple(track))
        WorkList.of("training", runs, folder, REPORTED).write(folder)


def _is_small(design: Design, plans: Mapping[str, ArmPlan]) -> bool:
    """Return whether a study is over before processes of its own would pay.

    Only under recipes of one thread, where a run is the same, bit by bit, in a process of its own.
    """
    seconds = sum(plan.steps * plan.cost.seconds_per_step for plan in plans.values() if plan.cost)
    return design.recipe.threads == 1 and seconds * (len(design.seeds) + design.tune) < _SMALL


def _runs(
    design: Design,
    data: Data,
    plans: Mapping[str, ArmPlan],
    folder: Path,
    needs: ResourceRequest,
    track: tuple[str, ...] = (),
) -> list[TrainingRun]:
    """Return the runs of some arms of a study, seed by seed, so that an unfinished study has whole seeds."""
    tasks = [create(name) for name in design.tasks]
    parsed = {arm: Arm.parse(of_seed(arm, design.seeds[0])) for arm in plans}
    task_names = {arm: tuple(task.name for task in askable(parsed[arm], tasks, data)) for arm in plans}
    return [
        TrainingRun(
            design.run(arm, seed, plan),
            run_folder(folder, Spec.parse(arm).slug, seed),
            task_names[arm],
            track=track,
            needs=needs,
        )
        for seed in design.seeds
        for arm, plan in plans.items()
        if seed in design.seeds_of(arm)
    ]


def _look_inside(folder: Path, design: Design) -> None:
    """Diagnose the first finished run of every arm that has not been looked into yet."""
    from ..report.diagnosis import PAGE, diagnose_model

    for arm in design.arms:
        runs = [run_folder(folder, Spec.parse(arm).slug, seed) for seed in design.seeds]
        good = [f for f in runs if (state := RunState.read(f)) is not None and state.status == "finished"]
        if good and not (good[0] / PAGE).exists():
            diagnose_model(good[0])


def default_jobs() -> int:
    """Return the usual number of runs at a time: one on a GPU; on a CPU as many as there are cores, up to four."""
    import torch

    return 1 if torch.cuda.is_available() else min(os.cpu_count() or 1, 4)


@dataclass(frozen=True)
class _Search:
    """Search for the plan of an arm: its trials and their folders."""

    trials: Sequence[Trial]
    folders: Sequence[Path]

    def runs(self, design: Design, arm: str, needs: ResourceRequest) -> list[TrainingRun]:
        return [
            run
            for trial, folder in zip(self.trials, self.folders, strict=True)
            for run in trial.runs(design, arm, folder, needs)
        ]


def _searches(design: Design, plans: Mapping[str, ArmPlan], folder: Path) -> dict[str, _Search]:
    """Return the searches of arms that have none behind them: for each, the same number of trials."""
    searches = {}
    for arm, plan in plans.items():
        if not plan.searched:
            search = trials(design, Arm.parse(of_seed(arm, design.seeds[0])), plan)
            folders = [trial_folder(folder, Spec.parse(arm).slug, number) for number in range(len(search))]
            searches[arm] = _Search(search, folders)
    return searches


def _chosen(searches: Mapping[str, _Search], folder: Path) -> dict[str, ArmPlan]:
    """Write the plan of each arm that is best on validation, and return the plans of all arms."""
    with leased(folder, wait=True):
        plans = read_plans(folder)
        for arm, search in searches.items():
            if not plans[arm].searched:
                plans[arm] = replace(choose(search.trials, search.folders), searched=True)
        write_plans(folder, plans)
    return plans
