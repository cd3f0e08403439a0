"""From run folders to a summary: every number with its interval, every difference with its verdict."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import RootModel

from ..data.columns import subject
from ..files import DamagedFileError, read_json
from ..modalities import MODALITIES, PAIR, leading
from ..reasons import counted, listing, share_in_words
from ..recipes import override
from ..spec import Spec
from ..training.folder import remedy
from ..training.record.environment import Environment
from ..training.record.metrics import read_metrics
from ..training.record.provenance import rows_of
from ..training.run import Run, RunState
from ..types import Target
from .agreement import check_examples
from .as_it_came import added_in_words
from .design import ArmPlan, Design
from .layout import run_folder, trial_folder, trial_runs
from .numbers import CLEAN, OF_SOME, name_of
from .results import StudyResults, damage
from .schema import (
    DifferenceSummary,
    Key,
    MetricSummary,
    SearchSummary,
    TrainedArm,
    TrainingCost,
    TrainingSummary,
    Winner,
)
from .scored import RunScores
from .training.convergence import Convergence, warnings_of
from .training.plans import read_plans
from .words.learning import arm_of, learns_from
from .words.remarks import cut_in_words, gaps_in_words
from .words.shots import by_shots
from .words.tables import ranked

MOST_IN_PAIRS = 10
"""Arms, at most, each of which is compared with each other one.

On the eight main metrics of emoji these are 360 tests. With the 20,000 resamples that a comparison takes at most, a
corrected p-value can be below 0.05 up to 500.
"""
_SPREAD, _COLLAPSED = "std_", 0.05
"""Prefix of the diagnostics of how far embeddings are spread, and the spread below which they are nearly one."""
_WAITED, _SHORT = 0.25, 10.0
"""Share of the training time spent on waiting for data that is worth a warning, and seconds too few to tell it."""


class _Diagnostics(RootModel[dict[str, dict[str, float]]]):
    """``diagnostics.json``: numbers by test set."""


@dataclass(frozen=True)
class FinishedRun:
    """One run folder, read.

    Attributes:
        folder: of the run.
        state: how it ended; a run that cannot be read counts as failed, and the reason names the file.
        scored: what it was scored with; None where it failed.
        diagnostics: numbers by test set; none where it failed.
        environment: of the run; none where it failed.
    """

    folder: Path
    state: RunState
    scored: RunScores | None = None
    diagnostics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> FinishedRun:
        """Read a run that has come to its end.

        Raises:
            ValueError: if it has not.
            DamagedFileError: if a file of it cannot be read.
        """
        state = RunState.read(folder)
        if state is None or state.status == "running":
            raise ValueError(f"{folder} is not finished: run the study's compare command again to finish it")
        Run.read(folder)
        if state.status == "failed":
            return cls(folder, state)
        scored = RunScores(folder)
        _ = scored.tables  # reads both of its files
        rows_of(folder)
        read_metrics(folder)
        inside = read_json(folder / "diagnostics.json", _Diagnostics, remedy(folder)).root
        return cls(folder, state, scored, inside, Environment.read(folder).model_dump())

    @property
    def reason(self) -> str:
        return self.state.reason


def read_results(design: Design, folder: Path) -> StudyResults[FinishedRun]:
    """Return the runs of a study that came to their end.

    Args:
        design: of the study.
        folder: of the study.

    Raises:
        ValueError: if there are none.
    """
    return StudyResults(
        folder,
        design.arms,
        design.seeds,
        lambda arm, seed: _read(run_folder(folder, Spec.parse(arm).slug, seed)),
        design.margin,
        [arm for arm in design.arms if design.is_fixed(arm)],
    )


def _read(folder: Path) -> FinishedRun | None:
    """Read a run, None if unfinished; neither such a run nor one that cannot be read hides the others."""
    try:
        state = RunState.read(folder)
        if state is None or state.status == "running":
            return None
        return FinishedRun.read(folder)
    except DamagedFileError as error:
        return FinishedRun(folder, RunState(status="failed", reason=damage(error, folder)))


def summarise(results: StudyResults[FinishedRun], design: Design) -> TrainingSummary:
    """Compute the content of ``summary.json``.

    Raises:
        DamagedFileError: if ``plan.json`` lacks an arm.
        OtherRunError: for runs that were not made of the same.
        RuntimeError: if every run failed.
        ValueError: if no arm can be compared with another.
    """
    folder = results.folder
    plans = read_plans(folder, design.arms)
    results.check()
    design = replace(design, arms=tuple(results.runs), seeds=results.seeds)
    for runs in _by_subject(results):
        check_examples(runs, folder)
    headline = results.headline(design.tasks)
    endings = {arm: _ending(results.finished(arm), design, plans[arm]) for arm in design.arms}
    columns = Run.read(results.finished()[0].folder).columns
    planned = {
        arm: replace(
            design.run(arm, design.seeds[0], plans[arm]), columns=columns, target=_target(results, arm)
        )
        for arm in design.arms
    }
    arms = [_arm(results, planned[arm], arm, plans[arm], endings[arm]) for arm in design.arms]
    differences, multiplicity, reference = _differences(results, design)
    costs = {arm: plans[arm].cost for arm in design.arms}
    return TrainingSummary(
        title=design.title,
        data=design.data,
        seeds=design.seeds,
        labels=design.labels,
        tasks=design.tasks,
        budget=design.budget,
        tune=design.tune,
        margin=design.margin,
        recipe=design.recipe.model_dump(),
        plans=dict(plans),
        environment=dict(results.finished()[0].environment),
        primary=MetricSummary.of(headline),
        of_some=tuple(map(MetricSummary.of, results.numbers.of_some)),
        arms=tuple(arms),
        differences=tuple(_with_remarks(difference, endings, arms) for difference in differences),
        multiplicity=multiplicity,
        reference=reference,
        tuning=tuple(_searches(folder, plans)) if design.tune else (),
        warnings=(
            *_leaks(arms),
            *added_in_words(design),
            *_warnings(results),
            *warnings_of(endings, tuned=design.tune > 0),
            *cut_in_words({arm: cost.cut_captions for arm, cost in costs.items() if cost}),
            *gaps_in_words({arm.name: (arm.cost.rows, arm.cost.left_out) for arm in arms}),
        ),
        winner=_winner(results, arms, headline, design.data),
        cannot_show=tuple(_cannot_show(results, design)),
    )


def _differences(
    results: StudyResults[FinishedRun], design: Design
) -> tuple[list[DifferenceSummary], str, str]:
    """Return the differences, what they were corrected for, and the arm that the others are compared with, if any.

    Arms of the same shots are compared, each number of shots being a family of its own. More than `MOST_IN_PAIRS` arms
    are compared with the first one alone: the tests of all pairs grow as the square of the number of arms, and Holm's
    correction over them would leave no difference that can be shown.
    """
    keys, groups = results.main_metrics(design.tasks), by_shots(results.runs)
    if len(groups) == 1:
        reference = _reference(results.runs)
        return *results.numbers.differences(keys, reference=reference), reference or ""
    differences: list[DifferenceSummary] = []
    multiplicity = [
        "Arms are compared at equal numbers of rows of each class, each of which is corrected by itself."
    ]
    for shots, arms in groups.items():
        of_shots, corrected = results.numbers.of_arms(arms).differences(keys, reference=_reference(arms))
        differences += of_shots
        multiplicity += [f"{_at(shots)}: {corrected}"] if corrected else []
    return differences, " ".join(multiplicity), ""


def _reference(arms: Iterable[str]) -> str | None:
    """Return the first of many arms, which each other one is compared with; None for few, compared in pairs."""
    names = list(arms)
    return names[0] if len(names) > MOST_IN_PAIRS else None


def _at(shots: int | None) -> str:
    return "All labels" if shots is None else f"{counted(shots, 'row')} of each class"


def _by_subject(results: StudyResults[FinishedRun]) -> Iterable[Mapping[Path, RunScores]]:
    """Return the scores of runs that tasks ask about one and the same column: rows with gaps lack others of these."""
    groups: dict[str | None, dict[Path, RunScores]] = {}
    for arm, _, run in results.each():
        if run.scored is not None:
            group = None
            with suppress(OSError, ValueError):  # of towers whose file is gone
                group = subject(arm_of(arm).reads(Run.read(run.folder).columns))
            groups.setdefault(group, {})[run.folder] = run.scored
    return groups.values()


def _ending(runs: Sequence[FinishedRun], design: Design, plan: ArmPlan) -> Convergence:
    """Return how the finished runs of an arm ended."""
    optimizer = override(design.recipe, plan.changes).optimizer
    return Convergence.of([run.folder for run in runs], optimizer, design.margin)


def _with_remarks(
    difference: DifferenceSummary, endings: Mapping[str, Convergence], arms: Sequence[TrainedArm]
) -> DifferenceSummary:
    """Return a difference whose sentence says where its arms learnt from different things, and which still improved."""
    if difference.family not in {"main", OF_SOME}:
        return difference
    compared, remarks = [arm for arm in arms if arm.name in (difference.a, difference.b)], ""
    # An arm that nothing is known of is not known to differ.
    if len({arm.learns for arm in compared if arm.learns}) > 1:
        phrases = [f"{arm.name} ({arm.learns})" for arm in compared]
        remarks += f" They learn from different things: {', '.join(phrases)}."
    if any(arm.cost.left_out for arm in compared):
        phrases = [f"{arm.name} on {share_in_words(arm.cost.rows, arm.cost.left_out)}" for arm in compared]
        remarks += f" Rows trained on: {', '.join(phrases)}."
    if rising := [arm.name for arm in compared if endings[arm.name].improving]:
        remarks += f" Still improving at the end: {' and '.join(rising)}; more steps may change the order."
    return difference.model_copy(update={"sentence": difference.sentence + remarks})


def _arm(
    results: StudyResults[FinishedRun], planned: Run, arm: str, plan: ArmPlan, ending: Convergence
) -> TrainedArm:
    good = results.finished(arm)
    states = [run.state for run in good or results.runs[arm].values()]
    apart = _on_other_examples(results, arm)
    return TrainedArm(
        name=arm,
        slug=Spec.parse(arm).slug,
        label=Spec.parse(arm).label,
        learns=_learns(planned),
        steps=plan.steps,
        failed=tuple(results.failed(arm)),
        unfinished=tuple(results.unfinished.get(arm, ())),
        cost=TrainingCost(
            seconds=float(np.mean([s.seconds for s in states])),
            waiting_seconds=float(np.mean([s.waiting_seconds for s in states])),
            peak_memory_bytes=max(s.peak_memory_bytes for s in states),
            parameters=states[0].parameters,
            trained_parameters=states[0].trained_parameters,
            images_seen=states[0].images_seen,
            rows=states[0].rows,
            left_out=states[0].left_out,
            passes=states[0].passes,
            late_gain=ending.late_gain,
            improving=ending.improving,
            evaluation_seconds=float(np.mean([s.evaluation_seconds for s in states])),
        ),
        metrics=tuple(score for score in results.numbers.metrics(arm) if score.key not in apart),
        diagnostics=_diagnostics(good),
        learnt=tuple(scalar for run in ending.scalars[:1] for scalar in run),
    )


def _target(results: StudyResults[FinishedRun], arm: str) -> Target | None:
    """Return the label that an arm learned from, as its runs have it; None where none has ended well."""
    return next((Run.read(run.folder).target for run in results.finished(arm)), None)


def _learns(planned: Run) -> str:
    """Return what an arm learns from; nothing where a file that it names, as that of a tower, is gone."""
    with suppress(OSError, ValueError):
        return learns_from(planned)
    return ""


def _diagnostics(runs: list[FinishedRun]) -> dict[str, dict[str, float | None]]:
    if not runs:
        return {}
    by_run = [run.diagnostics for run in runs]
    return {
        test: {name: float(np.mean([f[test][name] for f in by_run])) for name in numbers}
        for test, numbers in by_run[0].items()
    }


def _searches(folder: Path, plans: Mapping[str, ArmPlan]) -> Iterator[SearchSummary]:
    """Yield what the search cost each arm, and what the search chose."""
    for arm, plan in plans.items():
        trials = sorted(trial_folder(folder, Spec.parse(arm).slug, 0).parent.glob("trial-*"))
        runs = [run for trial in trials for run in trial_runs(trial)]
        states = [state for run in runs if (state := RunState.read(run)) is not None]
        yield SearchSummary(
            arm=arm,
            trials=len(trials),
            failed=sum(state.status == "failed" for state in states),
            seconds=sum(state.seconds for state in states),
            passes=dict(sum((Counter(state.passes) for state in states), Counter[str]())),
            chosen={**plan.changes, **plan.options},
        )


def _winner(
    results: StudyResults[FinishedRun], arms: Sequence[TrainedArm], headline: Key, data: str
) -> Winner:
    # An arm that failed on a seed is not recommended over one that did not.
    best = min(ranked(arms, headline), key=lambda arm: len(arm.failed)).name
    folder = results.finished(best)[0].folder
    arm = arm_of(best)
    texts = "text" in arm.reads(Run.read(folder).columns)
    used = "; model.embed('text', ['a red heart'])" if texts else ""
    command = ["embed", str(folder), data]
    if arm.draws_words:
        used, command = (
            "; model.draw([f'a {model.words[0]}'])",
            ["draw", "--model", str(folder), "--prompt", "PROMPT"],
        )
    return Winner(
        name=best,
        folder=str(folder),
        command=shlex.join(["counterpoint", *command]),
        python=f"import counterpoint as cp; model = cp.load({str(folder)!r}){used}",
    )


def _warnings(results: StudyResults[FinishedRun]) -> list[str]:
    lines = results.warnings()
    for arm in results.runs:
        if apart := _on_other_examples(results, arm):
            named = listing([name_of(key) for key in apart])
            lines.append(
                f"{arm}: left out of {named}, where it was asked about other examples than the others"
            )
        lines += [f"{arm}: {line}" for line in _collapsed(results.finished(arm))]
        lines += [f"{arm}: {line}" for line in _waiting(results.finished(arm))]
    return lines


def _waiting(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """Say that runs without other processes waited much for their data."""
    seconds, waited = (
        sum(run.state.seconds for run in runs),
        sum(run.state.waiting_seconds for run in runs),
    )
    if seconds > _SHORT and waited > _WAITED * seconds and not Run.read(runs[0].folder).recipe.workers:
        yield (
            f"{waited / seconds:.0%} of the training time went into waiting for data: --workers 1 or more prepares "
            "batches in other processes meanwhile"
        )


def _collapsed(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """Say of which columns the embeddings of some runs are nearly all the same."""
    for name in dict.fromkeys(name for run in runs for of_set in run.diagnostics.values() for name in of_set):
        if not name.startswith(_SPREAD):
            continue
        least = [min(of_set.get(name, np.inf) for of_set in run.diagnostics.values()) for run in runs]
        if collapsed := [value for value in least if value < _COLLAPSED]:
            yield (
                f"the embeddings of {name.removeprefix(_SPREAD)} are nearly all the same in {len(collapsed)} of "
                f"{counted(len(runs), 'run')}: their spread per dimension is {min(collapsed):.2f}, 1 is well spread"
            )


def _on_other_examples(results: StudyResults[FinishedRun], arm: str) -> list[Key]:
    """Return the metrics of other arms that an arm has on other examples, so that its number would mislead there."""
    runs = [run.scored.definitions for run in results.finished(arm) if run.scored is not None]
    return [
        key
        for key, part in results.numbers.of_some.items()
        if arm not in part.runs and runs and all(key in definitions for definitions in runs)
    ]


def _leaks(arms: Sequence[TrainedArm]) -> list[str]:
    """Return how many examples of each test set share something with training rows, and what that means here."""
    counts: dict[str, dict[str, int]] = {}
    for m in (m for arm in arms for m in arm.metrics):
        of_test = counts.setdefault(m.test, {})
        of_test[m.subset] = max(m.n, of_test.get(m.subset, 0))
    lines = []
    for test, n in counts.items():
        if "leaked" in n and CLEAN in n:
            lines.append(
                f"{n['leaked']} of {n['all']} examples of the test set {test!r} share a caption, a picture, a look or "
                f"a group with training rows: verdicts are about the {n[CLEAN]} clean ones"
            )
    return lines


def _cannot_show(results: StudyResults[FinishedRun], design: Design) -> list[str]:
    trained = {
        arm: [run.state.passes for run in runs.values()]
        for arm, runs in results.runs.items()
        if arm not in results.fixed
    }
    modality = leading(each for runs in trained.values() for each in runs)
    passes = {arm: max(each.get(modality, 0) for each in runs) for arm, runs in trained.items()}
    seen = {it for run in results.finished() for it in run.state.passes} or {*PAIR}
    towers = [name for it, name in design.recipe.towers.names.items() if it in seen]
    lines = [
        f"It is about {design.data!r}, these towers ({', '.join(towers)}) and "
        f"this budget. Another data set, size or length of training can order the arms differently."
    ]
    lines += results.of_few_seeds()
    if results.fixed:
        lines.append(
            f"Nothing in {' or '.join(results.fixed)} was trained: one run stands for all seeds, and nothing is said "
            "about another training of those weights."
        )
    if not design.tune:
        lines.append(
            "No arm was tuned: all ran with the recipe's learning rate and their own defaults, which may suit some "
            "better than others. --tune N searches for every arm with the same budget."
        )
    things = MODALITIES.get(modality).noun
    if design.budget == "steps" and len(set(passes.values())) > 1:
        most, least = max(passes, key=lambda a: passes[a]), min(passes, key=lambda a: passes[a])
        lines.append(
            f"Equal steps are not equal compute: {most} passed {passes[most]:,} {things} through its {modality} "
            f"tower, {least} {passes[least]:,}. --budget passes or --budget time compares them at equal cost."
        )
    lines.append(
        f"The test examples are a sample too: differences on them say nothing about {things} of another kind."
    )
    return lines
