"""counterpoint evaluate."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Names, Positional
from .arguments import parse
from .terminal import Terminal

if TYPE_CHECKING:
    from ..types import Scores


@form(frozen=True, config=FORM)
class Evaluate:
    """Evaluate a trained run, on its own data's test sets or on another data set's."""

    run: Annotated[Path, Positional()]
    """A run folder."""
    data: str | None = None
    """Another data set, or a copy of a benchmark (winoground:PATH, …); the run's own unless given."""
    tasks: Names = ()
    """Evaluation tasks. Unless given: retrieval, zero_shot, probe, shift, as far as data and model allow."""
    failures: Path | None = None
    """A folder for pictures of what the model got most wrong, one per test set and task."""
    json: bool = False
    """Print the scores as JSON instead of a table."""


def main(arguments: Sequence[str]) -> int:
    given = parse(Evaluate, arguments, "evaluate")

    console = Terminal(stderr=given.json)
    with console.status("loading torch"):
        import torch

        from .. import data, evaluation
        from ..diagnostics.features import Features
        from ..training.run import Run, load
    for name in given.tasks:
        evaluation.TASKS.reference(name)
    run = Run.read(given.run)
    by_test: dict[str, tuple[Scores, ...]] = {}
    refusals = []
    with console.status("evaluating"), torch.inference_mode():
        trained = load(given.run)
        source = data.load(given.data or run.data, trained.image_tower.size)
        model = Features.of(trained, source)
        for tasks in [(name,) for name in given.tasks] if given.tasks else [None]:
            try:
                found = evaluation.evaluate(model, source, tasks=tasks).by_test
            except ValueError as error:  # what the other tasks find is not lost
                refusals.append(str(error))
                continue
            for test, scores in found.items():
                by_test[test] = (*by_test.get(test, ()), *scores)
                if given.failures is None:
                    continue
                for one in scores:
                    place = given.failures / f"{test} {one.task}.png".replace(" ", "-")
                    evaluation.failures(one, model, source, source.splits.test[test], place)
                    console.print(f"wrote {place}", highlight=False, soft_wrap=True)
    rows = evaluation.Results(by_test).scores()
    if given.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
    else:
        from ..study.tables import score_tables

        for table in score_tables(rows):
            console.print(table)
    for refusal in dict.fromkeys(refusals):
        print(f"counterpoint evaluate: {refusal}", file=sys.stderr)
    return 1 if refusals else 0
