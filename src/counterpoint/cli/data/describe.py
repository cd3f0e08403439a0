"""counterpoint data describe: what is there, what is wrong with it, and which commands fit."""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Annotated

from pydantic.dataclasses import dataclass as form

from ...execution import WorkHandover
from ...execution.executors import LOCAL
from ...forms import FORM, Count, FlatField, Folder, Name
from ...recipes import DEFAULT
from ..common.execution import Execution
from ..common.terminal import Terminal, print_json
from ._source import DatasetOptions


@form(frozen=True, config=FORM, kw_only=True)
class DescribeOptions(DatasetOptions):
    """Describe a data set: what is there, what is wrong with it, and which commands fit."""

    out: Folder = None
    """Path of a PNG with pictures that look alike; in the cache folder unless given."""
    json: bool = False
    """Print JSON instead of tables."""
    sample: Count | None = None
    """Look at the pictures of so many examples, and give shares with intervals; at all unless given."""
    recipe: Name = DEFAULT
    """The recipe that captions and pictures are measured against."""
    card: Folder = None
    """Write a data card too, Markdown with the metadata that Hugging Face reads."""
    execution: Annotated[Execution, FlatField()] = field(default_factory=Execution)


def main(options: DescribeOptions) -> int:
    console = Terminal(stderr=options.json)
    named, where, executor = options.named, options.execution, options.execution.chosen
    shared = executor != LOCAL or (where.jobs or 1) > 1
    with console.status(f"looking at {named}"):
        from ...data.reporting import report
        from ...recipes import load
        from ..common.description import show
        from ..common.progress import WorkProgress

        look = partial(report, named, sample=options.sample, towers=load(options.recipe).towers)
        summary = None if shared else look()
    if summary is None:
        with WorkProgress(console) as progress:
            try:
                summary = look(jobs=where.jobs or 1, executor=executor, needs=where.needs, listener=progress)
            except WorkHandover as handed:
                console.print(str(handed), soft_wrap=True)
                return 0
        if not progress.count:
            console.print("looked at by this process: --jobs and --executor are for pictures in files")
    alike = summary.sheet(options.out)
    if options.card is not None:
        console.print(f"wrote {summary.card(options.card)}", soft_wrap=True)
    if options.json:
        print_json(summary.plain())
        return 0
    show(console, summary, alike)
    return 0
