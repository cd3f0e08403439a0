"""From run folders to a summary: every number with its interval, every difference with its verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..evaluation import STATISTICS, create
from ..methods.arm import Arm
from ..statistics import Outcomes, compare_arms, interval_of_mean, sentence
from ..training.run import RunState
from .design import ArmPlan, Design
from .tables import ranked

Key = tuple[str, str, str, str]
"""Task, test set, subset, metric."""


@dataclass(frozen=True)
class Definition:
    """How a metric is made from outcomes."""

    outcome: str
    statistic: str
    higher_is_better: bool
    chance: float | None

    def outcomes(
        self, arms: Mapping[str, Mapping[int, np.ndarray | None]], margin: float | None = None
    ) -> Outcomes:
        fraction = self.statistic == "mean"
        return Outcomes(
            arms=arms,
            statistic="mean" if fraction else STATISTICS[self.statistic],
            higher_is_better=self.higher_is_better,
            margin=margin if fraction else None,
            unit="points" if fraction else "",
        )


@dataclass(frozen=True)
class FinishedRun:
    """One run folder, read."""

    folder: Path
    state: RunState

    @property
    def failed(self) -> bool:
        return self.state.status == "failed"

    @cached_property
    def definitions(self) -> dict[Key, tuple[Definition, int]]:
        rows = json.loads((self.folder / "scores.json").read_text(encoding="utf-8"))
        return {
            (r["task"], r["test"], r["subset"], r["metric"]): (
                Definition(r["outcome"], r["statistic"], r["higher_is_better"], r["chance"]),
                r["n"],
            )
            for r in rows
        }

    @cached_property
    def tables(self) -> dict[tuple[str, str, str], pl.DataFrame]:
        examples = pl.read_parquet(self.folder / "examples.parquet").sort("example")
        parts = examples.partition_by(["task", "test", "outcome"], as_dict=True)
        return {(str(k[0]), str(k[1]), str(k[2])): frame for k, frame in parts.items()}

    def outcome(self, key: Key) -> np.ndarray:
        """The outcomes behind one number, in the order of the examples' ids."""
        task, test, subset, _ = key
        frame = self.tables[task, test, self.definitions[key][0].outcome]
        if subset != "all":
            frame = frame.filter(subset=subset)
        return frame["value"].to_numpy()

    @property
    def diagnostics(self) -> dict[str, dict[str, float]]:
        plain: dict[str, dict[str, float]] = json.loads(
            (self.folder / "diagnostics.json").read_text(encoding="utf-8")
        )
        return plain


class Results:
    """All runs of a study, by arm and seed."""

    def __init__(self, design: Design, folder: Path) -> None:
        from .study import run_folder

        self.design = design
        self.runs: dict[str, dict[int, FinishedRun]] = {}
        for arm in design.arms:
            for seed in design.seeds:
                place = run_folder(folder, arm, seed)
                state = RunState.read(place)
                if state is None or state.status == "running":
                    raise ValueError(
                        f"{place} is not finished: run the study's compare command again to finish it"
                    )
                self.runs.setdefault(arm, {})[seed] = FinishedRun(place, state)

    def finished(self) -> Iterator[FinishedRun]:
        return (run for runs in self.runs.values() for run in runs.values() if not run.failed)

    @cached_property
    def definitions(self) -> dict[Key, Definition]:
        """The metrics that every finished run has, in the order of the first."""
        runs = list(self.finished())
        if not runs:
            reasons = [run.state.reason for runs in self.runs.values() for run in runs.values()]
            raise RuntimeError(f"every run failed; the first reason: {reasons[0]}")
        return {
            key: definition
            for key, (definition, n) in runs[0].definitions.items()
            if n and all(key in run.definitions for run in runs)
        }

    def outcomes(self, key: Key) -> dict[str, dict[int, np.ndarray | None]]:
        return {
            arm: {seed: None if run.failed else run.outcome(key) for seed, run in runs.items()}
            for arm, runs in self.runs.items()
        }

    def own(self, arm: str) -> dict[Key, Definition]:
        """The metrics of one arm; some arms have more heads than others."""
        runs = [run for run in self.runs[arm].values() if not run.failed]
        return {key: d for key, (d, n) in runs[0].definitions.items() if n} if runs else {}


def primary_keys(results: Results) -> list[Key]:
    """Each task's main metric on each test set: what verdicts are about."""
    primaries = {task: create(task).primary for task in results.design.tasks}
    return [key for key in results.definitions if key[2] == "all" and primaries.get(key[0]) == key[3]]


def summarise(folder: Path, design: Design, plans: Mapping[str, ArmPlan]) -> dict[str, Any]:
    """The content of ``summary.json``."""
    results = Results(design, folder)
    keys = primary_keys(results)
    by_subset = [key for key in results.definitions if key[2] != "all" and (*key[:2], "all", key[3]) in keys]
    headline = keys[0]
    arms = [_arm(results, arm, plans[arm]) for arm in design.arms]
    differences, multiplicity = _differences(results, keys, family="main")
    exploratory, also = _differences(results, by_subset, family="by subset")
    differences += exploratory
    summary: dict[str, Any] = {
        "format": 1,
        "data": design.data,
        "seeds": list(design.seeds),
        "budget": design.budget,
        "tune": design.tune,
        "margin": design.margin,
        "recipe": design.recipe.model_dump(),
        "plans": {arm: asdict(plan) for arm, plan in plans.items()},
        "environment": json.loads(
            (next(results.finished()).folder / "environment.json").read_text(encoding="utf-8")
        ),
        "primary": dict(zip(("task", "test", "subset", "metric"), headline, strict=True)),
        "arms": arms,
        "differences": differences,
        "multiplicity": f"{multiplicity}."
        + (f" Differences by subset are a family of their own: {also}." if also else ""),
        "tuning": _tuning(folder, plans) if design.tune else [],
        "warnings": _warnings(results),
    }
    summary["winner"] = _winner(results, arms, headline)
    summary["cannot_show"] = _cannot_show(results, plans)
    cleaned: dict[str, Any] = finite(summary)
    return cleaned


def _arm(results: Results, arm: str, plan: ArmPlan) -> dict[str, Any]:
    runs = results.runs[arm]
    good = [run for run in runs.values() if not run.failed]
    states = [run.state for run in good] or [run.state for run in runs.values()]
    return {
        "name": arm,
        "slug": Arm.parse(arm).slug,
        "label": Arm.parse(arm).label,
        "steps": plan.steps,
        "failed": [{"seed": s, "reason": r.state.reason} for s, r in runs.items() if r.failed],
        "cost": {
            "seconds": float(np.mean([s.seconds for s in states])),
            "peak_memory_bytes": max(s.peak_memory_bytes for s in states),
            "parameters": states[0].parameters,
            "trained_parameters": states[0].trained_parameters,
            "images_seen": states[0].images_seen,
            "image_passes": states[0].image_passes,
            "text_passes": states[0].text_passes,
        },
        "metrics": [_metric(results, arm, key, definition) for key, definition in results.own(arm).items()],
        "diagnostics": _diagnostics(good),
    }


def _metric(results: Results, arm: str, key: Key, definition: Definition) -> dict[str, Any]:
    runs = {seed: run.outcome(key) for seed, run in results.runs[arm].items() if not run.failed}
    statistic = STATISTICS[definition.statistic]
    fraction = definition.statistic == "mean" and all(((v >= 0) & (v <= 1)).all() for v in runs.values())
    interval = interval_of_mean(
        runs, statistic="mean" if definition.statistic == "mean" else statistic, n_boot=500
    )
    return {
        **dict(zip(("task", "test", "subset", "metric"), key, strict=True)),
        "mean": interval.estimate,
        # The mean of outcomes in [0, 1] lies there too, whatever a t interval of few seeds says.
        "low": max(interval.low, 0.0) if fraction else interval.low,
        "high": min(interval.high, 1.0) if fraction else interval.high,
        "seeds": {str(seed): statistic(values) for seed, values in runs.items()},
        "n": len(next(iter(runs.values()))),
        "chance": definition.chance,
        "higher_is_better": definition.higher_is_better,
    }


def _diagnostics(runs: list[FinishedRun]) -> dict[str, dict[str, float]]:
    if not runs:
        return {}
    found = [run.diagnostics for run in runs]
    return {
        test: {name: float(np.mean([f[test][name] for f in found])) for name in numbers}
        for test, numbers in found[0].items()
    }


def _differences(results: Results, keys: list[Key], family: str) -> tuple[list[dict[str, Any]], str]:
    if len(results.design.arms) < 2 or not keys:
        return [], ""
    named = {name_of(key): key for key in keys}
    comparison = compare_arms(
        {
            name: results.definitions[key].outcomes(results.outcomes(key), results.design.margin)
            for name, key in named.items()
        }
    )
    rows = []
    for d in comparison.differences:
        needed = d.seeds_needed
        rows.append(
            {
                **d.to_dict(),
                **dict(zip(("task", "test", "subset", "metric"), named[d.metric], strict=True)),
                "family": family,
                "sentence": sentence(d),
                "seeds_needed": None if needed is None else {"effect": needed.effect, "n": needed.n},
            }
        )
    return rows, comparison.multiplicity


def name_of(key: Key) -> str:
    """A metric in words.

    >>> name_of(("retrieval", "concepts", "all", "i2t_R@1"))
    'retrieval i2t_R@1 (concepts)'
    """
    task, test, subset, metric = key
    return f"{task} {metric} ({test}{'' if subset == 'all' else f', {subset}'})"


def _tuning(folder: Path, plans: Mapping[str, ArmPlan]) -> list[dict[str, Any]]:
    """What the search cost each arm, and what it chose."""
    found = []
    for arm, plan in plans.items():
        places = sorted((folder / "tuning" / Arm.parse(arm).slug).glob("trial-*"))
        states = [state for place in places if (state := RunState.read(place)) is not None]
        found.append(
            {
                "arm": arm,
                "trials": len(states),
                "failed": sum(state.status == "failed" for state in states),
                "seconds": sum(state.seconds for state in states),
                "image_passes": sum(state.image_passes for state in states),
                "chosen": {**plan.changes, **plan.options},
            }
        )
    return found


def _winner(results: Results, arms: list[dict[str, Any]], headline: Key) -> dict[str, Any]:
    primary = dict(zip(("task", "test", "subset", "metric"), headline, strict=True))
    # An arm that failed on a seed is not recommended over one that did not.
    best = min(ranked({"arms": arms, "primary": primary}), key=lambda arm: len(arm["failed"]))["name"]
    seed = next(seed for seed, run in results.runs[best].items() if not run.failed)
    folder = results.runs[best][seed].folder
    return {
        "name": best,
        "folder": str(folder),
        "command": f"counterpoint evaluate {folder}",
        "python": f"import counterpoint as cp; model = cp.load({str(folder)!r}); model.embed('text', ['a red heart'])",
    }


def _warnings(results: Results) -> list[str]:
    found = []
    for arm, runs in results.runs.items():
        failed = [seed for seed, run in runs.items() if run.failed]
        if failed:
            found.append(
                f"{arm} failed on {len(failed)} of {len(runs)} seeds ({', '.join(map(str, failed))}): "
                f"{runs[failed[0]].state.reason.split(';')[0]}"
            )
        collapsed = {
            w for run in runs.values() if not run.failed for w in run.diagnostics.get("warnings", {})
        }
        found += [f"{arm}: {warning}" for warning in sorted(collapsed)]
    return found


def _cannot_show(results: Results, plans: Mapping[str, ArmPlan]) -> list[str]:
    design = results.design
    passes = {arm: next(iter(runs.values())).state.image_passes for arm, runs in results.runs.items()}
    found = [
        f"It is about {design.data!r}, these towers ({design.recipe.towers.image}, {design.recipe.towers.text}) and "
        f"this budget. Another data set, size or length of training can order the arms differently."
    ]
    if len(design.seeds) < 5:
        found.append(
            f"{len(design.seeds)} seed(s): every verdict is suggestive. Add seeds with --seeds 5 and the same folder; "
            "what is finished is not repeated."
        )
    if not design.tune:
        found.append(
            "No arm was tuned: all ran with the recipe's learning rate and their own papers' defaults, which may suit "
            "some better than others. --tune N searches for every arm with the same budget."
        )
    if design.budget == "steps" and len(set(passes.values())) > 1:
        most, least = max(passes, key=lambda a: passes[a]), min(passes, key=lambda a: passes[a])
        found.append(
            f"Equal steps are not equal compute: {most} passed {passes[most]:,} pictures through its image tower, "
            f"{least} {passes[least]:,}. --budget images or --budget time compares them at equal cost."
        )
    found.append(
        "The test examples are a sample too: differences on them say nothing about pictures of another kind."
    )
    return found


def finite(value: Any) -> Any:
    """NaN and infinities as None, which JSON can carry."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
