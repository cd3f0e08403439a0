"""The page of a model's flaws as a function of the examples that it is shown."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ...diagnostics.plots import svg
from ...evaluation.answering.in_context import sections
from ...files import write_json, write_text
from ..numbers import finite
from .page import environment

FILE, PAGE = "flaws.json", "flaws.html"


def write_flaws(
    folder: Path,
    found: pl.DataFrame,
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
        found: what `counterpoint.evaluation.answering.in_context.examine` found.
        model: its name.
        data: what it was asked about.
        rows: how many rows of that.
        command: that makes the page again.
        attribution: of the pictures.

    Returns:
        What the JSON file holds: every axis's sentence and numbers, and all rows of the table.
    """
    made = sections(found)
    values: dict[str, Any] = finite(
        {
            "format": 1,
            "model": model,
            "data": data,
            "rows": rows,
            "axes": {s.name: {"sentence": s.sentence, "numbers": dict(s.numbers)} for s in made},
            "table": found.to_dicts(),
        }
    )
    write_json(folder / FILE, values)
    page = (
        environment()
        .get_template("flaws.html.j2")
        .render(
            found=values,
            sections=[
                {
                    "name": s.name,
                    "title": s.title,
                    "sentence": s.sentence,
                    "numbers": values["axes"][s.name]["numbers"],
                    "plot": svg(s.figure, s.name) if s.figure is not None else "",
                }
                for s in made
            ],
            command=shlex.join(command),
            attribution=attribution,
            style=(Path(__file__).parent / "style.css").read_text(encoding="utf-8"),
        )
    )
    write_text(folder / PAGE, page)
    return values
