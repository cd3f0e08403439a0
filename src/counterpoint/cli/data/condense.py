"""counterpoint data condense: few pictures of each class that train as many do."""

from __future__ import annotations

import shlex
from typing import Literal

from pydantic.dataclasses import dataclass as form

from ...forms import FORM, Count, Folder, Seed
from ..common.terminal import Terminal
from ._source import DatasetOptions


@form(frozen=True, config=FORM, kw_only=True)
class CondenseOptions(DatasetOptions):
    """Condense a data set: few pictures of each class, for --data; the same command goes on where it was stopped."""

    out: Folder = None
    """A new folder, in which each class is a folder."""
    labels: str = ""
    """The label by whose classes pictures are divided."""
    per_class: Count = 10
    """Pictures of each class."""
    way: Literal["dcc", "dc", "herding", "random"] = "dcc"
    """dcc matches gradients summed over classes, dc class by class; herding and random choose real ones."""
    size: Count = 32
    """Pixels of a side."""
    iterations: Count = 200
    """Networks whose gradients are matched, each in 10 steps or more; the paper takes 1000."""
    seed: Seed = 0
    """Seed of networks and draws."""


def main(options: CondenseOptions) -> int:
    console = Terminal()
    named = options.named
    if options.out is None or not options.labels:
        raise ValueError("condense needs a label and a new folder. For example: --labels species --out small")
    from ..common.progress import counting

    with console.status("loading"):
        from ...data.curation.condensing import condense
    with counting(console, "iterations") as notify:
        made = condense(
            named,
            options.out,
            labels=options.labels,
            per_class=options.per_class,
            way=options.way,
            size=options.size,
            iterations=options.iterations,
            seed=options.seed,
            on_iteration=notify,
        )
    console.print(
        f"{options.out}: {sum(made.values()):,} pictures of {len(made):,} classes, {options.per_class} of each",
        soft_wrap=True,
    )
    again = shlex.join(["train", "cross-entropy", "--data", str(options.out), "--labels", "folder"])
    console.print(f"use it: counterpoint {again}", soft_wrap=True)
    return 0
