"""counterpoint evaluate."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic.dataclasses import dataclass as form

from ..data.named import check_named
from ..forms import FORM, FlatField, Folder, Names, Positional
from ..reasons import printable
from .common.arguments import parse
from .common.files import FileOptions, guesses
from .common.terminal import Terminal, print_json

if TYPE_CHECKING:
    from ..study.side_by_side import ModelComparison


@form(frozen=True, config=FORM)
class EvaluateOptions:
    """Evaluate a trained run or other models, on a run's own test sets or on another data set's, side by side."""

    models: Annotated[tuple[str, ...], Positional()]
    """A run folder; open_clip:NAME@TAG, transformers:PATH, sentence-transformers:PATH, timm:NAME@hub; several are
    scored on the same rows, with each one's difference from the first."""
    data: str | None = None
    """Another data set, or a copy of a benchmark (winoground:PATH, …); the first run's own unless given."""
    files: Annotated[FileOptions, FlatField()] = field(default_factory=FileOptions)
    split: Literal["test", "all"] | None = None
    """Score the test rows, or all rows; unless given, all rows of another data set that has no splits of its own.

    Rows of another data set whose picture (sound, series) a run was trained on are left out, but of `all`.
    """
    tasks: Names = ()
    """Evaluation tasks, with options behind commas: few_shot,ways=10. Unless given: retrieval, zero_shot, probe, shift,
    as far as data and models allow."""
    failures: Path | None = None
    """A folder for pages of what a model got most wrong, to see and to hear, one per test set and task."""
    out: Folder = None
    """A folder for evaluation.json (scores with their intervals) and examples.parquet (outcomes of every example)."""
    json: bool = False
    """Print the scores as JSON instead of a table."""


def main(arguments: Sequence[str]) -> int:
    options = parse(EvaluateOptions, arguments, "evaluate")

    if (source := options.files.of(options.data)) is not None:
        check_named(source)
    console = Terminal(stderr=options.json)
    with console.status("loading torch"):
        from .. import evaluation
        from ..study.side_by_side import evaluate
    for name in options.tasks:
        evaluation.check_name(name)
    if options.out is not None and (options.out / "recipe.yaml").exists():
        raise ValueError(
            f"{options.out} holds a run: give another folder with --out, so that its own scores stay"
        )
    with console.status("evaluating"):
        evaluated = evaluate(
            *options.models,
            data=source,
            tasks=options.tasks,
            split=options.split,
            failures=options.failures,
            notify=lambda line: console.print(line, soft_wrap=True),
        )
        scored = evaluated.scores()
    notes = list(evaluated.notes)
    if source is not None:
        notes = [*guesses(evaluated.findings), *notes]
    if options.out is not None and scored:
        _write(options.out, evaluated, scored)
        notes.append(f"scores and outcomes: {options.out}")
    if options.json:
        print_json(scored)
    else:
        from ..study.words.terminal import beside_tables, score_tables

        for table in beside_tables(scored) if len(evaluated.results) > 1 else score_tables(scored):
            console.print(table)
    for note in notes:
        console.print(note, soft_wrap=True)
    for refusal in evaluated.refusals:
        print(printable(f"counterpoint evaluate: {refusal}"), file=sys.stderr)
    return 1 if evaluated.refusals else 0


def _write(folder: Path, evaluated: ModelComparison, scored: list[dict[str, Any]]) -> None:
    """Write the scores with what they are of, and the outcomes of every example."""
    from ..files import write_json, write_table

    (name, *others), prints = evaluated.results, dict(evaluated.fingerprints)
    about = {"models": prints} if others else {"run": name, "fingerprint": prints[name]}
    counts = {test: len(rows) for test, rows in evaluated.rows.items()}
    of = {"format": 1, **about, "data": evaluated.data, "rows": counts}
    write_json(folder / "evaluation.json", {**of, "scores": scored})
    write_table(folder / "examples.parquet", evaluated.examples())
