"""counterpoint data."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic.dataclasses import dataclass as form

from ..execution import HandedOver
from ..execution.executors import LOCAL
from ..forms import FORM, Count, Flat, Folder, Name, Positional
from ..reasons import listing
from ._condensing import Condensing, condense
from .common.arguments import parse
from .common.execution import Execution
from .common.files import Files
from .common.terminal import Terminal

_SUSPECTS = 10  # rows of the table that audit prints


@form(frozen=True, config=FORM)
class Data:
    """Show a data set in a picture or page, describe it in a table, audit its labels, index, convert or condense it."""

    action: Annotated[Literal["show", "describe", "audit", "convert", "index", "condense"], Positional()]
    """show writes a picture or a page; describe reports what is there and what is wrong with it; audit lists the rows
    of a run whose labels are probably wrong; convert writes a data set's rows as shards, index what shards hold, and
    condense makes few pictures of each class, for --data: these go on where they were stopped."""
    source: Annotated[str, Positional()] = "emoji"
    """emoji (:artist, :both, :stream), digits (:stream), glosses (:graded), scenes:, clips:, sounds:, speech: or
    motions:PRESET; stamps, drawings or monuments (packages of Debian); a folder, a table (CSV, TSV, JSONL, Parquet) or
    a shard (tar), several by braces, a glob or @list.txt, here or at s3://, gs://, https://; an index; hf:NAME; coco:
    or ptbxl:PATH; or FILE.py:NAME, data or a source that a file of Python defines. To audit: the folder of a run."""
    files: Annotated[Files, Flat()] = field(default_factory=Files)
    out: Folder = None
    """Path of what show writes: a picture, .png (DATA.png unless given), or a page that plays sounds and clips, .html;
    of the PNG with pictures that look alike that describe writes (in the cache folder unless given), of the table of
    audit (suspects.csv unless given, a page beside it), or of the folder of the shards, of the index or of the
    condensed pictures."""
    labels: str = ""
    """The label that audit looks at, the one that the run learned unless given; or by whose classes condense divides
    the pictures, which become the folders."""
    json: bool = False
    """describe: print JSON instead of tables."""
    sample: Count | None = None
    """describe: look at the pictures of so many examples, and give shares with intervals; at all unless given."""
    recipe: Name = "cpu"
    """describe: the recipe that captions and pictures are measured against."""
    card: Folder = None
    """describe: write a data card too, Markdown with the metadata that Hugging Face reads."""
    to: Literal["webdataset", "parquet"] = "webdataset"
    """convert: the format of the shards, tar files or Parquet with the files inside."""
    size: Count | None = None
    """convert: most pixels of a picture's shorter side; a larger one becomes a JPEG of quality 95. condense: pixels of
    a side, 32 unless given."""
    condensing: Annotated[Condensing, Flat()] = field(default_factory=Condensing)
    execution: Annotated[Execution, Flat()] = field(default_factory=Execution)


_OF_SOME: Mapping[str, tuple[str, ...]] = {
    **{option.name: ("show", "describe", "convert", "index", "condense") for option in fields(Files)},
    **{option.name: ("index", "describe") for option in fields(Execution)},
    **{option.name: ("condense",) for option in fields(Condensing)},
    **dict.fromkeys(("json", "sample", "recipe", "card"), ("describe",)),
    "jobs": ("index", "describe", "convert"),
    "labels": ("audit", "condense"),
    "size": ("convert", "condense"),
    "to": ("convert",),
}
"""Options that are of some actions alone, with these."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Data, arguments, "data")
    _check_that_the_action_has(options)
    console = Terminal(stderr=options.json)
    if options.action == "describe":
        return _describe(options, console)
    if options.action == "audit":
        return _audit(options, console)
    named = options.files.of(options.source)
    if options.action == "index":
        return _index(named, options, console)
    if options.action == "condense":
        return condense(named, options.labels, options.out, options.size, options.condensing, console)
    if options.action == "convert":
        return _convert(named, options, console)
    with console.status(f"loading {named}"):
        from ..data.source import load_any, short_name
        from ..pages.sheet import is_page

        path = options.out or Path(f"{short_name(named)}.png")
        is_page(path)  # a path that nothing can be written to is refused before anything is read
        load_any(named).show(path)
    console.print(f"wrote {path}", soft_wrap=True)
    return 0


def _check_that_the_action_has(options: Data) -> None:
    """Refuse options of other actions.

    Raises:
        ValueError: for one; the message names the actions that have it.
    """
    for part in (options, options.files, options.condensing, options.execution):
        for option in fields(part):
            actions = _OF_SOME.get(option.name, (options.action,))
            if options.action not in actions and getattr(part, option.name) != option.default:
                said = listing([f"data {action}" for action in actions])
                raise ValueError(
                    f"--{option.name.replace('_', '-')} is for {said}, and not for data {options.action}"
                )


def _describe(options: Data, console: Terminal) -> int:
    named, where, executor = options.files.of(options.source), options.execution, options.execution.chosen
    shared = executor != LOCAL or (where.jobs or 1) > 1
    with console.status(f"looking at {named}"):
        from ..data.reporting import report
        from ..recipes import load
        from .common.description import show
        from .common.progress import WorkProgress

        look = partial(report, named, sample=options.sample, towers=load(options.recipe).towers)
        summary = None if shared else look()
    if summary is None:
        with WorkProgress(console) as progress:
            try:
                summary = look(jobs=where.jobs or 1, executor=executor, needs=where.needs, listener=progress)
            except HandedOver as handed:
                console.print(str(handed), soft_wrap=True)
                return 0
        if not progress.count:
            console.print("looked at by this process: --jobs and --executor are for pictures in files")
    alike = summary.sheet(options.out)
    if options.card is not None:
        console.print(f"wrote {summary.card(options.card)}", soft_wrap=True)
    if options.json:
        import json

        print(json.dumps(summary.plain(), indent=2, ensure_ascii=False))
        return 0
    show(console, summary, alike)
    return 0


def _audit(options: Data, console: Terminal) -> int:
    from rich.table import Table

    with console.status(f"looking at the labels of {options.source}"):
        from ..study.auditing import audit

        findings = audit(options.source, options.labels)
        path = options.out or Path("suspects.csv")
        page = findings.write(path)
    console.print(
        f"{findings.suspects.height:,} of {findings.looked:,} rows to train on probably {findings.fault}, "
        f"by {findings.by}",
        soft_wrap=True,
    )
    table = Table("key", "given", "proposed", "probability", box=None)
    for row in findings.suspects.head(_SUSPECTS).to_dicts():
        table.add_row(row["key"], row["given"], row["proposed"], f"{row['probability']:.3f}")
    console.print(table)
    console.print(f"wrote {path}; look at the surest in {page}", soft_wrap=True)
    if findings.suspects.is_empty():
        return 0
    words = ["train", findings.run.arm, "--data", findings.run.data, "--labels", findings.label]
    again = f"counterpoint {shlex.join(words)}"
    console.print(f"correct these labels, then train again: {again}", soft_wrap=True)
    return 0


def _index(source: str, options: Data, console: Terminal) -> int:
    if options.out is None:
        raise ValueError("where to? For example: --out my-index")
    where, executor = options.execution, options.execution.chosen
    with console.status("loading"):
        from ..data.reporting.advice import training
        from ..data.sharded.indexing import index
        from ..data.sides import MOST_HELD_OUT
    from .common.progress import WorkProgress

    with WorkProgress(console) as progress:
        try:
            made = index(
                source,
                options.out,
                held_out=options.files.held_out or MOST_HELD_OUT,
                jobs=where.jobs,
                executor=executor,
                needs=where.needs,
                listener=progress,
            )
        except HandedOver as handed:
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


def _convert(source: str, options: Data, console: Terminal) -> int:
    if options.out is None:
        raise ValueError("where to? For example: --out shards")
    from .common.progress import counting

    with console.status("loading"):
        from ..data.converting import convert
    with counting(console, "rows") as notify:
        counts = convert(
            source,
            options.out,
            to=options.to,
            size=options.size,
            jobs=options.execution.jobs,
            on_rows=notify,
        )
    rows = ", ".join(f"{count:,} of {split}" for split, count in counts.items())
    console.print(f"{options.out}: {sum(counts.values()):,} rows of {source}: {rows}", soft_wrap=True)
    console.print(
        f"see what fits: counterpoint data describe {shlex.quote(str(options.out))}", soft_wrap=True
    )
    return 0
