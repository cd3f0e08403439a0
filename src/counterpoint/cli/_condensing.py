"""Options of counterpoint data condense, and how it is carried out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Count, Seed
from .common.terminal import Terminal


@form(frozen=True, config=FORM)
class Condensing:
    """Options of condensing: what the new pictures are, and how they are come to."""

    per_class: Count = 10
    """condense: pictures of each class."""
    way: Literal["dcc", "dc", "herding", "random"] = "dcc"
    """condense: dcc matches gradients summed over classes, dc class by class; herding and random choose real ones."""
    iterations: Count = 200
    """condense: networks whose gradients are matched; the paper takes 1000."""
    seed: Seed = 0
    """condense: of networks and draws."""


def condense(
    source: str, labels: str, out: Path | None, size: int | None, options: Condensing, console: Terminal
) -> int:
    if out is None or not labels:
        raise ValueError("condense needs a label and a new folder. For example: --labels species --out small")
    from .common.progress import counting

    with console.status("loading"):
        from ..data.curation.condensing import condense
    with counting(console, "iterations") as notify:
        made = condense(
            source,
            out,
            labels=labels,
            per_class=options.per_class,
            way=options.way,
            size=size or 32,
            iterations=options.iterations,
            seed=options.seed,
            on_iteration=notify,
        )
    console.print(
        f"{out}: {sum(made.values()):,} pictures of {len(made):,} classes, {options.per_class} of each",
        soft_wrap=True,
    )
    again = shlex.join(["train", "cross-entropy", "--data", str(out), "--labels", "folder"])
    console.print(f"use it: counterpoint {again}", soft_wrap=True)
    return 0
