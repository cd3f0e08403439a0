"""The main job: from a design to a verdict."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias, Unpack

from pydantic import RootModel

from ..data.source import short_name
from ..execution import Executor, Listener, Local, NullListener, leased
from ..files import Damaged, read_json, write_json
from ..methods.arm import slug_of
from ..reasons import counted
from ..training.run import RunState
from .agreement import check_made_of_the_same
from .conclusion import conclusion
from .cost import measure, plan_arms
from .damage import set_aside_damaged
from .design import ArmPlan, Design, DesignOptions, filled_by_user
from .gate import Prepared, prepare
from .layout import run_folder, trial_folder
from .schema import TrainingSummary
from .summary import summarise
from .tables import write_tables
from .training_run import TrainingRun
from .tuning import choose, trials

OnCost: TypeAlias = Callable[[Design, Mapping[str, ArmPlan]], bool]
"""Called with the design and every arm's steps and cost before a study starts; a False stops it there."""
_SMALL = 30.0
"""Seconds of training below which all runs of a study take turns in this process: others would start for as long."""
_PLAN_REMEDY = "delete it and run the study's compare command again, which makes it anew"


@dataclass(frozen=True)
class Study:
    """A finished study: its folder and what it found.

    Attributes:
        folder: where it is.
        summary: the content of ``summary.json``.
    """

    folder: Path
    summary: TrainingSummary

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Study:
        """Read a study from its folder.

        Raises:
            ValueError: if the folder holds no finished study.
            Damaged: if its summary cannot be read.
        """
        return cls(Path(folder), TrainingSummary.read(Path(folder)))

    @property
    def report(self) -> Path:
        """The report page."""
        return self.folder / "report.html"

    @property
    def sentences(self) -> list[str]:
        """Return in words what the primary metric says about each pair of arms."""
        primary = self.summary.primary.key
        return [d.sentence for d in self.summary.differences if d.key == primary]

    @property
    def conclusion(self) -> list[str]:
        """Return the answer in at most three lines: who is ahead, by how much, what would decide the rest."""
        return conclusion(self.summary)

    def write(self) -> None:
        """Write the summary, the tables and the report."""
        from .report import write_report

        self.summary.write(self.folder)
        write_tables(self.summary, self.folder)
        write_report(self.folder, self.summary)


class _Plans(RootModel[dict[str, ArmPlan]]):
    """``plan.json``."""


def compare(
    *arms: str,
    folder: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    diagnose: bool = False,
    listener: Listener | None = None,
    on_cost: OnCost | None = None,
    **options: Unpack[DesignOptions],
) -> Study:
    """Train several methods under one recipe, evaluate them on the same examples, and say which differences are real.

    Args:
        arms: methods by name, with options after commas; pretrained towers; a user's own loss.
        folder: the study's folder; finished runs in it are not repeated. ``runs/DATA-ARMS`` unless given.
        jobs: runs at a time, each in a process with its share of the cores; unless given, one on a GPU and
            up to four on a CPU, where one thread a run is faster than several, and one in a study of seconds.
        diagnose: look inside the first finished run of every arm, and link the pages from the report.
        listener: told of every event.
        on_cost: told the steps of every arm and their cost before the study starts; a False stops it there.
        options: ``data``, ``seeds``, ``recipe``, ``budget``, ``tune``, ``margin``, ``tasks``: the fields of
            `counterpoint.study.Design`, which has their meanings and defaults. ``seeds`` says how many or which,
            ``recipe`` is a recipe, its name or its file.

    Raises:
        ValueError: for whatever can be known to be wrong before anything is trained.
        OtherStudy: if the folder holds another study.
        DryRun: if ``on_cost`` said False.
    """
    design = filled_by_user(Design, {"arms": arms, **options})
    return conduct(design, folder, jobs=jobs, diagnose=diagnose, listener=listener, on_cost=on_cost)


def conduct(
    design: Design,
    folder: str | os.PathLike[str] | None = None,
    *,
    jobs: int | None = None,
    diagnose: bool = False,
    listener: Listener | None = None,
    on_cost: OnCost | None = None,
) -> Study:
    """Carry out a study; see `compare`."""
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    if folder is not None and not os.fspath(folder):
        raise ValueError("folder must name a folder, got nothing")
    place = Path(folder) if folder is not None else default_folder(design)
    plans_path = place / "plan.json"
    there = Design.read(place, design.margin)
    known = {} if there is None else _read_plans(plans_path)
    ready = prepare(design, place, there=there, known=known)
    design = ready.design
    check_made_of_the_same(
        _runs(design, {a: p for a, p in known.items() if a in design.arms}, place), ready.data, place
    )
    listener = listener or NullListener()
    at_once = jobs if jobs is not None else default_jobs()
    if new := [arm for arm in design.arms if arm not in known]:
        listener.begin(f"timing {counted(len(new), 'arm')}", ())
    measured = partial(measure, ready, jobs=at_once)
    plans = plan_arms(design, known, len(ready.data.splits.train), measured)
    if on_cost is not None and not on_cost(design, plans):
        raise DryRun
    executor = Local(1 if jobs is None and _is_small(design, plans) else at_once)
    # Another command may have joined the folder meanwhile, or may do so at any time.
    with leased(place, wait=True):
        design = design.reserve(place)
        plans |= _read_plans(plans_path)
        if plans != known:
            _write_plans(plans_path, plans)
    if to_search := {arm: plan for arm, plan in plans.items() if not plan.searched}:
        plans |= _tune(ready, to_search, place, executor, listener)
        with leased(place, wait=True):
            plans = _read_plans(plans_path) | plans
            _write_plans(plans_path, plans)
    work = _runs(design, {arm: plans[arm] for arm in design.arms}, place)
    set_aside_damaged(work)
    listener.begin("training", work)
    executor.carry_out(work, listener)
    if diagnose:
        _look_inside(place, design)
    with leased(place, wait=True):
        study = Study(place, summarise(place, _finished(place, design), _read_plans(plans_path)))
        study.write()
    return study


def _is_small(design: Design, plans: Mapping[str, ArmPlan]) -> bool:
    """Return whether a study is over before processes of its own would pay.

    Only under recipes of one thread, where a run is the same, bit by bit, in a process of its own.
    """
    seconds = sum(plan.steps * plan.cost.seconds_per_step for plan in plans.values() if plan.cost)
    return design.recipe.threads == 1 and seconds * (len(design.seeds) + design.tune) < _SMALL


def _runs(design: Design, plans: Mapping[str, ArmPlan], place: Path) -> list[TrainingRun]:
    """Return the runs of some arms of a study, seed by seed, so that an unfinished study has whole seeds."""
    return [
        TrainingRun(design.run(arm, seed, plan), run_folder(place, slug_of(arm), seed), design.tasks)
        for seed in design.seeds
        for arm, plan in plans.items()
    ]


def _finished(place: Path, design: Design) -> Design:
    """Return all that is finished: the folder's whole study, or this design where another command adds to it."""
    whole = Design.read(place, design.margin) or design
    states = [
        RunState.read(run_folder(place, slug_of(arm), seed)) for arm in whole.arms for seed in whole.seeds
    ]
    return whole if all(state is not None and state.status != "running" for state in states) else design


def _look_inside(place: Path, design: Design) -> None:
    """Diagnose the first finished run of every arm that has not been looked into yet."""
    from .report.diagnosis import PAGE, diagnose_run

    for arm in design.arms:
        folders = [run_folder(place, slug_of(arm), seed) for seed in design.seeds]
        good = [f for f in folders if (state := RunState.read(f)) is not None and state.status == "finished"]
        if good and not (good[0] / PAGE).exists():
            diagnose_run(good[0])


class DryRun(Exception):
    """The study was only to be planned."""


def resummarise(folder: str | os.PathLike[str], margin: float | None = None) -> Study:
    """Summarise a study's finished runs anew and write its tables and report.

    Args:
        folder: the study's.
        margin: another margin of equivalence than before; the study keeps it.
    """
    place = Path(folder)
    design = Design.read(place, margin)
    if design is None:
        raise ValueError(f"{place} is not a study folder: it has no study.yaml")
    path = place / "plan.json"
    with leased(place, wait=True):
        plans = _read_plans(path)
        if missing := [arm for arm in design.arms if arm not in plans]:
            raise Damaged(path, f"it has no plan of {', '.join(missing)}", _PLAN_REMEDY)
        if margin is not None:
            design.reserve(place)
        study = Study(place, summarise(place, design, plans))
        study.write()
    return study


def default_folder(design: Design) -> Path:
    return Path("runs") / "-".join([short_name(design.data), *map(slug_of, design.arms)])[:80]


def default_jobs() -> int:
    """Return the usual number of runs at a time: one on a GPU; on a CPU as many as there are cores, up to four."""
    import torch

    return 1 if torch.cuda.is_available() else min(os.cpu_count() or 1, 4)


def _read_plans(path: Path) -> dict[str, ArmPlan]:
    return read_json(path, _Plans, _PLAN_REMEDY).root if path.exists() else {}


def _write_plans(path: Path, plans: Mapping[str, ArmPlan]) -> None:
    write_json(path, {arm: asdict(plan) for arm, plan in plans.items()})


def _tune(
    study: Prepared, plans: Mapping[str, ArmPlan], folder: Path, executor: Executor, listener: Listener
) -> dict[str, ArmPlan]:
    """Return a plan for each arm: of the same number of trials, the one that is best on validation."""
    searches = {arm: trials(study.design, study.arms[arm], plan) for arm, plan in plans.items()}
    folders = {
        arm: [trial_folder(folder, slug_of(arm), number) for number in range(len(search))]
        for arm, search in searches.items()
    }
    work = [
        TrainingRun(study.design.run(arm, trial.seed, trial.plan), place, test=False)
        for arm, search in searches.items()
        for trial, place in zip(search, folders[arm], strict=True)
    ]
    set_aside_damaged(work)
    listener.begin("tuning", work)
    executor.carry_out(work, listener)
    return {arm: replace(choose(search, folders[arm]), searched=True) for arm, search in searches.items()}
