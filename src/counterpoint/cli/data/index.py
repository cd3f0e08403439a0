"""counterpoint data index: what shards hold, so that training begins at once."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic.dataclasses import dataclass as form

from ...execution import WorkHandover
from ...forms import FORM, FlatField, Folder
from ..common.execution import Execution
from ..common.terminal import Terminal
from ._source import DatasetOptions


@form(frozen=True, config=FORM, kw_only=True)
class DataIndexOptions(DatasetOptions):
    """Index what shards hold, so that training begins at once; the same command goes on where it was stopped."""

    out: Folder = None
    """Folder of the index."""
    execution: Annotated[Execution, FlatField()] = field(default_factory=Execution)


def main(options: DataIndexOptions) -> int:
    console = Terminal()
    named, where, executor = options.named, options.execution, options.execution.chosen
    if options.out is None:
        raise ValueError("where to? For example: --out my-index")
    with console.status("loading"):
        from ...data.reporting.advice import training
        from ...data.sharded.indexing import index
        from ...data.sides import MOST_HELD_OUT
    from ..common.progress import WorkProgress

    with WorkProgress(console) as progress:
        try:
            made = index(
                named,
                options.out,
                held_out=options.files.held_out or MOST_HELD_OUT,
                jobs=where.jobs,
                executor=executor,
                needs=where.needs,
                listener=progress,
            )
        except WorkHandover as handed:
            console.print(str(handed), soft_wrap=True)
            return 0
    held = ", ".join(f"{count:,} of {side}" for side, count in made.held_out_rows.items())
    console.print(
        f"{options.out}: {int(made.training.sum()):,} records to train on in {len(made.shards):,} shards; "
        f"held out: {held}",
        soft_wrap=True,
    )
    if made.left_out:
        console.print(f"left out: {made.left_out}", soft_wrap=True)
    if made.labels:
        labels = ", ".join(f"{name} ({label.kind})" for name, label in made.labels.items())
        console.print(f"labels: {labels}", soft_wrap=True)
    console.print(f"use it: {training(made.columns, str(options.out))}", soft_wrap=True)
    return 0
