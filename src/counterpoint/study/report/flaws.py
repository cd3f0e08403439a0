"""The page of a model's flaws as a function of the examples that it is shown."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ...evaluation.in_context import sections
from ...files import write_json
from .frame import drawn, finite, write_page

FILE, PAGE = "flaws.json", "flaws.html"


def write_flaws(
    folder: Path,
    outcomes: pl.DataFrame,
    *,
    model: str,
    data: str,
    rows: int,
    command: Sequence[str],
    attribution: str = "",
) -> dict[str, Any]:
    """Write ``flaws.html``, which opens offline, and ``flaws.json``.

    Args:
        folder: to write into.
        outcomes: what `counterpoint.evaluation.in_context.examine` returned.
        model: its name.
        data: what it was asked about.
        rows: how many rows of that.
        command: that makes the page again.
        attribution: of the pictures.

    Returns:
        What the JSON file holds: every axis's sentence and numbers, and all rows of the table.
    """
    made = sections(outcomes)
    values: dict[str, Any] = finite(
        {
            "format": 1,
            "model": model,
            "data": data,
            "rows": rows,
            "axes": {s.name: {"sentence": s.sentence, "numbers": dict(s.numbers)} for s in made},
            "table": outcomes.to_dicts(),
        }
    )
    write_json(folder / FILE, values)
    write_page(
        folder / PAGE,
        "flaws.html.j2",
        about=values,
        sections=drawn(made, values["axes"]),
        command=shlex.join(command),
        attribution=attribution,
    )
    return values
