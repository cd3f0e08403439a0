"""counterpoint evaluate."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Folder, Names, Positional
from .arguments import parse
from .terminal import Terminal

if TYPE_CHECKING:
    from ..data.base import PairedData, Rows
    from ..evaluation.results import RunResults
    from ..types import Scores

ALL = "all rows"
"""The name of the set that holds every row of a data set."""


@form(frozen=True, config=FORM)
class Evaluate:
    """Evaluate a trained run, on its own data's test sets or on another data set's."""

    run: Annotated[Path, Positional()]
    """A run folder."""
    data: str | None = None
    """Another data set, or a copy of a benchmark (winoground:PATH, …); the run's own unless given."""
    split: Literal["test", "all"] | None = None
    """Score the test rows, or all rows; unless given, all rows of another data set that has no splits of its own.

    Rows of another data set whose picture the run was trained on are left out, but of `all`.
    """
    tasks: Names = ()
    """Evaluation tasks. Unless given: retrieval, zero_shot, probe, shift, as far as data and model allow."""
    failures: Path | None = None
    """A folder for pictures of what the model got most wrong, one per test set and task."""
    out: Folder = None
    """A folder for evaluation.json (scores with their intervals) and examples.parquet (outcomes of every example)."""
    json: bool = False
    """Print the scores as JSON instead of a table."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Evaluate, arguments, "evaluate")

    console = Terminal(stderr=options.json)
    with console.status("loading torch"):
        import numpy as np
        import torch

        from .. import data, evaluation
        from ..data.embeddings import EmbeddingCache
        from ..evaluation.task import NotApplicable, check_training
        from ..training.provenance import trained_on
        from ..training.run import Run, data_of, load
    for name in options.tasks:
        evaluation.TASKS.reference(name)
    if options.out is not None and (options.out / "recipe.yaml").exists():
        raise ValueError(
            f"{options.out} holds a run: give another folder with --out, so that its own scores stay"
        )
    by_test: dict[str, tuple[Scores, ...]] = {}
    refusals: list[str] = []
    notes: list[str] = []
    with console.status("evaluating"), torch.inference_mode():
        trained = load(options.run)
        where = options.data or data_of(options.run)
        source = data.load(where, Run.read(options.run).recipe.towers.image_size).suited(trained.inputs)
        model = EmbeddingCache.of(trained, source)
        whole = options.split == "all" or (
            options.split is None and options.data is not None and source.split_here
        )
        seen = trained_on(options.run, source) if options.data or whole else np.arange(0)
        left_out = np.arange(0) if options.split == "all" else seen
        rows = _rows(source, whole, left_out)
        console.print(_what_is_scored(where, source, rows), soft_wrap=True)
        if len(seen):
            console.print(_what_was_trained_on(where, source, seen, options.split == "all"), soft_wrap=True)
        if not rows:
            raise ValueError(f"{where} has no other rows to score: give other data, or --split all")
        for name in options.tasks or evaluation.DEFAULT_TASKS:
            task = evaluation.create(name)
            # A task that learns from the training rows must not be asked about them.
            tests = _rows(source, whole and not task.learns, left_out)
            try:
                if missing := sorted(set(task.modalities) - set(model.embeds)):
                    raise NotApplicable(
                        f"{name} needs {' and '.join(missing)} embeddings, which the model has not"
                    )
                check_training(task, source)
                by_set = evaluation.evaluate(model, source, tasks=(task,), tests=tests).by_test
            except NotApplicable as error:
                if options.tasks:
                    refusals.append(str(error))
                else:
                    notes.append(f"left out: {str(error).removesuffix(': leave the task out')}")
                continue
            except ValueError as error:  # what the other tasks find is not lost
                refusals.append(str(error))
                continue
            if tests.keys() != rows.keys():
                notes.append(
                    f"{name} learns from the training rows, so it is asked about the test rows alone"
                )
            for test, scores in by_set.items():
                by_test[test] = (*by_test.get(test, ()), *scores)
                if options.failures is None:
                    continue
                for one in scores:
                    path = options.failures / f"{test} {one.task}.png".replace(" ", "-")
                    evaluation.failures(one, model, source, tests[test], path)
                    console.print(f"wrote {path}", soft_wrap=True)
        results = evaluation.RunResults(by_test)
        scored = _with_intervals(results)
    if options.out is not None and scored:
        _write(options.out, {"run": str(options.run), "data": where}, rows, results, scored)
        notes.append(f"scores and outcomes: {options.out}")
    if options.json:
        json.dump(scored, sys.stdout, indent=2)
        print()
    else:
        from ..study.terminal import score_tables

        for table in score_tables(scored):
            console.print(table)
    for note in notes:
        console.print(note, soft_wrap=True)
    for refusal in dict.fromkeys(refusals):
        print(f"counterpoint evaluate: {refusal}", file=sys.stderr)
    return 1 if refusals else 0


def _rows(data: PairedData, whole: bool, left_out: Rows) -> Mapping[str, Rows]:
    """Return the rows to score of every test set that has some."""
    import numpy as np

    sets = {ALL: np.arange(len(data))} if whole else data.splits.test
    kept = {name: np.setdiff1d(rows, left_out) if len(left_out) else rows for name, rows in sets.items()}
    return {name: rows for name, rows in kept.items() if len(rows)}


def _what_was_trained_on(where: str, data: PairedData, seen: Rows, scored: bool) -> str:
    """Return a line on the rows whose picture the run was trained on."""
    what = "scored with the others" if scored else "left out (--split all scores them too)"
    return f"trained on: {len(seen):,} of the {len(data):,} pictures of {where}, {what}"


def _what_is_scored(where: str, data: PairedData, rows: Mapping[str, Rows]) -> str:
    """Return a line on the rows that are scored, and how many there are."""
    if ALL in rows:
        unsplit = ", which has no splits of its own" if data.split_here else ""
        count = (
            f"all {len(data):,}" if len(rows[ALL]) == len(data) else f"{len(rows[ALL]):,} of {len(data):,}"
        )
        return f"scored: {count} rows of {where}{unsplit} (--split test scores a held-out part)"
    sets = ", ".join(f"{len(of_test):,} of {name!r}" for name, of_test in rows.items())
    return (
        f"scored: the test rows of {where}: {sets}; it has {len(data):,} rows (--split all scores them all)"
    )


def _with_intervals(results: RunResults) -> list[dict[str, Any]]:
    """Return the scores with 95 % intervals, which the examples alone make: there is one model."""
    from ..study.numbers import bounded

    scored = []
    for row in results.scores():
        scores = next(it for it in results.by_test[row["test"]] if it.task == row["task"])
        _, low, high = bounded(row["statistic"], scores.outcomes(row["metric"], row["subset"]).astype(float))
        scored.append({**row, "low": low, "high": high})
    return scored


def _write(
    folder: Path,
    about: Mapping[str, str],
    rows: Mapping[str, Rows],
    results: RunResults,
    scored: list[dict[str, Any]],
) -> None:
    """Write the scores with what they are of, and the outcomes of every example."""
    from ..files import write_json, writing

    counts = {name: len(of_test) for name, of_test in rows.items()}
    write_json(folder / "evaluation.json", {"format": 1, **about, "rows": counts, "scores": scored})
    with writing(folder / "examples.parquet") as part:
        results.examples().write_parquet(part)
