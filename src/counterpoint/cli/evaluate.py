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
    """Another data set; the run's own unless given."""
    tasks: tuple[str, ...] = ("retrieval", "zero_shot", "probe", "shift")
    """Evaluation tasks."""
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
        scores = evaluation.evaluate(load(given.run), source, tasks=given.tasks).scores()
    if given.json:
        json.dump(scores, sys.stdout, indent=2)
        print()
        return 0
    from ..study.tables import score_table

    console.print(score_table(scores))
    return 0
