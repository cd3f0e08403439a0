"""counterpoint evaluate."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from .arguments import parse


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a trained run, on its own data's test sets or on another data set's."""

    run: tyro.conf.Positional[Path]
    """A run folder."""
    data: str | None = None
    """Another data set, or a copy of a benchmark (winoground:PATH, …); the run's own unless given."""
    tasks: tuple[str, ...] = ()
    """Evaluation tasks. Unless given: retrieval, zero_shot, probe, shift, as far as data and model allow."""
    failures: Path | None = None
    """A folder for pictures of what the model got most wrong, one per test set and task."""
    json: bool = False
    """Print the scores as JSON instead of a table."""


def main(arguments: Sequence[str]) -> int:
    given = parse(Evaluate, arguments, "evaluate")
    from rich.console import Console

    console = Console(stderr=given.json)
    with console.status("loading torch"):
        import torch

        from .. import data, evaluation
        from ..training.run import Run, load
    for task in given.tasks:
        evaluation.TASKS.reference(task)
    run = Run.read(given.run)
    with console.status("evaluating"), torch.inference_mode():
        source = data.load(given.data or run.data, run.recipe.towers.image_size)
        model = load(given.run)
        results = evaluation.evaluate(model, source, tasks=given.tasks or None)
        if given.failures is not None:
            for test, tasks in results.by_test.items():
                for found in tasks:
                    place = given.failures / f"{test} {found.task}.png".replace(" ", "-")
                    evaluation.failures(found, model, source, source.splits.test[test], place)
                    console.print(f"wrote {place}", highlight=False, soft_wrap=True)
    scores = results.scores()
    if given.json:
        json.dump(scores, sys.stdout, indent=2)
        print()
        return 0
    from ..study.tables import score_tables

    for table in score_tables(scores):
        console.print(table)
    return 0
