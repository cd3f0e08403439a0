"""counterpoint data audit: rows whose labels are probably wrong, as a run sees them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from pydantic.dataclasses import dataclass as form

from ...forms import FORM, Folder, Positional
from ..common.terminal import Terminal

_SUSPECTS = 10  # rows of the table that is printed


@form(frozen=True, config=FORM)
class AuditOptions:
    """List the rows that a run trained on whose labels are probably wrong, or whose tags are missing."""

    run: Annotated[str, Positional()]
    """The folder of the run."""
    labels: str = ""
    """The label to look at; the one that the run learned unless given."""
    out: Folder = None
    """Path of the table, suspects.csv unless given; a page of the surest stands beside it."""


def main(options: AuditOptions) -> int:
    console = Terminal()
    from rich.table import Table

    with console.status(f"looking at the labels of {options.run}"):
        from ...study.auditing import audit

        findings = audit(options.run, options.labels)
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
