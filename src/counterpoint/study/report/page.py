"""The page: what the template is given, and the file it becomes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from ...recipes import load as load_recipe
from ...recipes import names as recipe_names
from ...recipes import override, parse
from ...training.record.metrics import FILE, read_metrics
from ...training.run import Run, RunState
from ..layout import run_folder, trial_folder, trial_runs
from ..schema import ArmSummary, Key, StudySummary, TrainedArm, TrainingSummary
from ..training.tuning import trial_score
from ..words.conclusion import conclusion, points
from ..words.names import with_short_names
from ..words.shots import beside_baselines, by_shots, shots_of, without_shots
from ..words.tables import columns, is_fraction, ranked
from . import charts, words
from .examples import gallery
from .frame import write_page
from .maps import label_maps
from .timelines import timelines

_COLOURS = 8
"""Number of the colours of arms, one each; later arms repeat the colours with a dashed line."""
FEW = 3
"""Pairs of arms up to which every one is put into words at once; more are unfolded on demand."""


def write_report(folder: Path, summary: TrainingSummary) -> Path:
    """Write a study's ``report.html``: one file without scripts that needs no network.

    Args:
        folder: the study's folder, whose runs give curves and examples; runs that are gone leave theirs out.
        summary: the content of its ``summary.json``.

    Returns:
        The path of the page.
    """
    filled = content(folder, summary)
    return write_page(folder / "report.html", "training.html.j2", **filled, plot_height=charts.HEIGHT)


def content(folder: Path, summary: TrainingSummary) -> dict[str, Any]:
    """Collect everything the template shows."""
    full, summary = summary, with_short_names(summary)
    primary = summary.primary.key
    first = [d for d in summary.differences if d.key == primary]
    if len(first) > FEW:  # those with the arm that the page recommends are read first
        first = sorted(first, key=lambda d: summary.winner.name not in (d.a, d.b))
    lines = _by_shots(summary)
    return of_any_study(summary) | {
        "beside_baselines": [
            {"verdict": words.verdict(d), "sentence": d.sentence} for d in beside_baselines(summary)
        ],
        "by_shots": lines,
        "shots_looks": colour_classes([line["arm"] for panel in lines[:1] for line in panel["lines"]]),
        "title": summary.title or words.question([arm.name for arm in summary.arms], summary.data),
        "facts": [*words.facts(summary), *words.files_of_losses(full)],
        "conclusion": conclusion(summary),
        "answers": [{"verdict": words.verdict(d), "sentence": d.sentence} for d in first],
        "page_curves": _curves(folder, summary),
        "page_costs": charts.costs(summary.arms, charts.training(summary.arms)),
        "gallery": gallery(folder, summary),
        "label_maps": label_maps(folder, summary),
        "timelines": timelines(folder, summary),
        "diagnostics": _diagnostics(summary.arms),
        "diagnoses": _diagnoses(folder, summary),
        "needed": words.needed(first) if len(first) <= FEW else [],
        "few": FEW if len(first) <= FEW else 0,
        "trials": _trials(folder, summary),
        "recipe": yaml.safe_dump(summary.recipe, sort_keys=False),
        "plans": yaml.safe_dump(summary.plain()["plans"], sort_keys=False),
        "commands": commands(folder, full),
    }


def of_any_study(summary: StudySummary) -> dict[str, Any]:
    """Collect what the templates of all kinds of studies show."""
    order = ranked(summary.arms, summary.primary.key)
    keys = columns(summary)
    primary = summary.primary.key
    return {
        "summary": summary,
        "looks": colour_classes([arm.name for arm in summary.arms]),
        "primary": primary,
        "primary_n": next((m.n for arm in order if (m := arm.score(primary))), 0),
        "metrics": {key[3]: meaning for key in [primary, *keys] if (meaning := words.meaning(key[3]))},
        "boards": [{"key": key, **charts.intervals(order, key)} for key in keys],
        "main_table": table(order, keys) | {"learns": _learns(order)},
        "subset_tables": subset_tables(order, keys),
        "other_tables": other_tables(order, keys),
        "forests": forests(summary, keys),
        "differences": differences(summary),
        "failed": failures(summary.arms),
        "margin": points(summary.margin),
    }


def colour_classes(names: Sequence[str]) -> dict[str, str]:
    """Return the class of every arm's colour."""
    return {name: f"arm-{k % _COLOURS}{' again' if k >= _COLOURS else ''}" for k, name in enumerate(names)}


def failures(arms: Sequence[ArmSummary]) -> list[dict[str, Any]]:
    """Return the failed runs of all arms."""
    return [{"arm": arm.name, "seed": run.seed, "reason": run.reason} for arm in arms for run in arm.failed]


def forests(summary: StudySummary, keys: Sequence[Key]) -> list[dict[str, Any]]:
    """Draw the differences of the metrics that the main table shows."""
    return [
        {"key": key, **charts.forest(group, summary.margin)}
        for key in keys
        if (group := [d for d in summary.differences if d.key == key])
    ]


def differences(summary: StudySummary) -> dict[str, list[dict[str, Any]]]:
    """Return all differences with their verdicts in words, by family."""
    return {
        family: [
            {**d.model_dump(), "words": words.verdict(d)} for d in summary.differences if d.family == family
        ]
        for family in dict.fromkeys(d.family for d in summary.differences)
    }


def table(arms: Sequence[ArmSummary], keys: Sequence[Key]) -> dict[str, Any]:
    """Arrange arms by metrics, the metrics grouped by test set, with the best mean of each marked."""
    tests = dict.fromkeys(key[1] for key in keys)
    keys = [key for test in tests for key in keys if key[1] == test]
    rows = [(arm.name, [arm.score(key) for key in keys]) for arm in arms]
    best: list[float | None] = []
    for column in zip(*(cells for _, cells in rows), strict=True):
        means = [m.mean for m in column if m is not None and m.mean is not None]
        pick = max if any(m is not None and m.higher_is_better for m in column) else min
        # Where all are the same, none is best.
        best.append(pick(means) if len(set(means)) > 1 else None)
    return {
        "tests": {test: sum(key[1] == test for key in keys) for test in tests},
        "keys": keys,
        "rows": rows,
        "best": best,
        "learns": {},
    }


def _learns(arms: Sequence[ArmSummary]) -> dict[str, str]:
    """Return what each arm learns from; nothing where that is known of none."""
    return {arm.name: arm.learns or "–" for arm in arms} if any(arm.learns for arm in arms) else {}


def subset_tables(arms: Sequence[ArmSummary], keys: Sequence[Key]) -> dict[str, dict[str, Any]]:
    """Arrange the main metrics on each subset (tone variants, the rest) by itself."""
    wanted = {(task, test, metric) for task, test, _, metric in keys}
    by_subset: dict[str, dict[Key, None]] = {}
    for arm in arms:
        for m in arm.metrics:
            main = (m.task, m.test, m.metric) in wanted
            if main and m.key not in keys:
                by_subset.setdefault(m.subset, {})[m.key] = None
    return {subset: table(arms, list(those)) for subset, those in by_subset.items()}


def other_tables(arms: Sequence[ArmSummary], keys: Sequence[Key]) -> dict[str, dict[str, Any]]:
    """Arrange the metrics of each task besides its main one, on whole test sets."""
    judged = {key[0] for key in keys}
    wanted = {(task, test, metric) for task, test, _, metric in keys}
    by_task: dict[str, dict[Key, None]] = {}
    for arm in arms:
        for m in arm.metrics:
            main = (m.task, m.test, m.metric) in wanted
            if not main and m.subset == "all" and m.task in judged:
                by_task.setdefault(m.task, {})[m.key] = None
    return {task: table(arms, list(those)) for task, those in by_task.items()}


def _curves(folder: Path, summary: TrainingSummary) -> list[dict[str, Any]]:
    """Draw the loss, and on every validation set each R@1 that is the first of an arm."""
    series: dict[str, dict[str, list[Any]]] = {}
    shown = {"loss"}
    for arm in summary.arms:
        without = {f.seed for f in arm.failed} | set(arm.unfinished)
        for seed in summary.seeds:
            run_path = run_folder(folder, arm.slug, seed)
            if seed in without or not (run_path / FILE).exists():
                continue
            frame = read_metrics(run_path).filter(
                (pl.col("name") == "loss") | pl.col("name").str.contains(r"^validation/.*/retrieval/.*_R@1$")
            )
            parts = frame.partition_by("name", as_dict=True, maintain_order=True)
            names = [str(name) for (name,) in parts]
            shown.update({name.rpartition("/")[0]: name for name in reversed(names)}.values())
            for name, part in zip(names, parts.values(), strict=True):
                part = part.sort("step")
                run = (part["step"].to_numpy().astype(float), part["value"].to_numpy())
                series.setdefault(name, {}).setdefault(arm.name, []).append(run)
    panels = []
    for name in sorted(shown & series.keys()):
        validation = name.startswith("validation/")
        chart = charts.curves(series[name], percent=validation)
        test, metric = name.split("/")[1::2] if validation else ("", "")
        title = f"{metric.replace('_', ' ')} on validation: {test}" if validation else "training loss"
        panels.append({"title": title, "loss": not validation, **chart})
    return panels


def _by_shots(summary: TrainingSummary) -> list[dict[str, Any]]:
    """Draw each main metric of the arms over the rows of each class, where there are several numbers of them."""
    if len(by_shots(arm.name for arm in summary.arms)) < 2:
        return []
    panels = []
    for key in columns(summary):
        runs: dict[str, dict[str, list[tuple[int, float]]]] = {}
        for arm in summary.arms:
            shots, score = shots_of(arm.name), arm.score(key)
            for seed, value in score.seeds.items() if score is not None else ():
                if value is not None and shots is not None:
                    runs.setdefault(without_shots(arm.name), {}).setdefault(seed, []).append((shots, value))
        series = {
            arm: [tuple(np.array(sorted(points), dtype=float).T) for points in by_seed.values()]
            for arm, by_seed in runs.items()
        }
        if series:
            title = f"{key[0]} {key[3]}, {key[1]}"
            panels.append(
                {"title": title, "loss": False, **charts.curves(series, percent=is_fraction(key[3]))}
            )
    return panels


def _diagnostics(arms: Sequence[TrainedArm]) -> dict[str, Any]:
    """Arrange a table per test set: a row per diagnostic with what it says, a column per arm."""
    tests = dict.fromkeys(test for arm in arms for test in arm.diagnostics)
    present = {name for arm in arms for numbers in arm.diagnostics.values() for name in numbers}
    ordered = [name for name in words.DIAGNOSTICS if name in present]
    ordered += sorted(present - set(ordered))
    by_test: dict[str, Any] = {}
    for test in tests:
        rows = [(name, [arm.diagnostics.get(test, {}).get(name) for arm in arms]) for name in ordered]
        by_test[test] = [
            (name, words.diagnostic(name), values)
            for name, values in rows
            if any(v is not None for v in values)
        ]
    return by_test


def _diagnoses(folder: Path, summary: TrainingSummary) -> list[dict[str, Any]]:
    """List the runs that `counterpoint diagnose` has looked into: arm, seed and page, relative to the report."""
    return [
        {"arm": arm.name, "seed": seed, "page": path.relative_to(folder).as_posix()}
        for arm in summary.arms
        for seed in summary.seeds
        if (path := run_folder(folder, arm.slug, seed) / "diagnosis.html").exists()
    ]


def _trials(folder: Path, summary: TrainingSummary) -> list[dict[str, Any]]:
    """Return the trials that tuning made."""
    if not summary.tune:
        return []
    rows = []
    for arm in summary.arms:
        for number in range(summary.tune):
            trial = trial_folder(folder, arm.slug, number)
            path = trial_runs(trial)[0]
            state = RunState.read(path)
            if state is None:
                continue
            run = Run.read(path)
            rows.append(
                {
                    "arm": arm.name,
                    "number": number,
                    "spec": run.arm,
                    "lr": run.recipe.optimizer.lr,
                    "status": state.status,
                    "score": trial_score(trial),
                }
            )
    return rows


def commands(folder: Path, summary: TrainingSummary) -> dict[str, str]:
    """Return the commands that make the study, and its report page, again."""
    recipe = parse(summary.recipe)
    shipped = next(
        (name for name in recipe_names() if override(load_recipe(name), {"steps": recipe.steps}) == recipe),
        None,
    )
    again = ["counterpoint", "compare", *(arm.name for arm in summary.arms), "--data", summary.data]
    again += ["--seeds", str(max(summary.seeds) + 1), "--recipe", shipped or "recipe.yaml"]
    again += ["--steps", str(recipe.steps)] if shipped and recipe.steps else []
    again += ["--tasks", *summary.tasks] if summary.tasks else []
    again += ["--budget", summary.budget, "--margin", f"{summary.margin:g}"]
    again += ["--labels", summary.labels] if summary.labels else []
    again += ["--tune", str(summary.tune)] if summary.tune else []
    again += ["--title", summary.title] if summary.title else []
    return {
        "compare": shlex.join(again),
        "report": shlex.join(["counterpoint", "report", str(folder)]),
        "note": "" if shipped else "Save the recipe below as recipe.yaml first.",
    }
