"""Audit of the labels of a run: the list of those to look at again, as a table and as a page."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ..data.labels import Tags
from ..data.pictured import Pictured
from ..data.source import load_any
from ..evaluation.auditing import judges, suspects
from ..evaluation.task import main_labels
from ..files import writing
from ..training.run import Run, data_of
from ..training.start import load
from ..training.trained import trained_rows
from .opened import relabelled
from .report.frame import write_page

SHOWN = 60
"""Suspects that a page shows, the surest ones."""
_SIDE = 96


@dataclass(frozen=True)
class Audit:
    """Labels of a run that are probably wrong.

    Attributes:
        run: what was looked at.
        label: by name.
        fault: in words, what is probably wrong with a suspect.
        looked: rows of which it is known.
        by: in words, who says so.
        suspects: the table, the surest first; see `counterpoint.evaluation.auditing.suspects`.
        pictures: of the rows; None for data without.
    """

    run: Run
    label: str
    fault: str
    looked: int
    by: str
    suspects: pl.DataFrame
    pictures: Pictured | None

    def write(self, path: str | os.PathLike[str]) -> Path | None:
        """Write the table as CSV, and a page of the surest suspects beside it.

        Returns:
            The path of the page, which opens offline; None for data without pictures.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as part:
            self.suspects.drop("row").write_csv(part)
        if self.pictures is None:
            return None
        shown = [
            {**row, "picture": _picture(self.pictures, row["row"])}
            for row in self.suspects.head(SHOWN).to_dicts()
        ]
        return write_page(path.with_suffix(".html"), "suspects.html.j2", audit=self, shown=shown)


def audit(folder: str | os.PathLike[str], labels: str = "") -> Audit:
    """Return the rows to train on of a run whose label is probably wrong.

    Args:
        folder: of the run.
        labels: the label that is looked at; the one that the run learned unless given, or the first that its data has.

    Raises:
        UnknownName: for a label that the data does not have.
        WrongKind: for one that is neither classes nor tags.
        ValueError: for a folder that is no run, data without labels, and labels of fewer than two classes.
    """
    folder = Path(folder)
    run, model = Run.read(folder), load(folder)
    whole = load_any(data_of(folder), run.recipe.towers.image_size)
    data = relabelled(whole, run.labels)
    there = (*main_labels(data, ()), *main_labels(data, (), Tags))
    label = labels or (run.target.label if run.target else next(iter(there), ""))
    if not label:
        raise ValueError(
            f"{run.data} has no label of two classes or more and no tags, so that there is nothing to audit"
        )
    labelled = data.label(label, "classes", "tags")
    fault = f"lack one of their {label}" if isinstance(labelled, Tags) else f"have a wrong {label}"
    rows = trained_rows(run.arm, data)
    suspected = suspects(model, data.suited(model.inputs), rows, label)
    by = "a five-fold logistic regression on the run's embeddings"
    if judges(model, label):
        by = "the run's own judgement"
    looked = int(labelled.known[rows].sum())
    return Audit(run, label, fault, looked, by, suspected, whole if isinstance(whole, Pictured) else None)


def _picture(data: Pictured, row: int) -> str:
    file = io.BytesIO()
    data.shown(row, _SIDE).convert("RGB").save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
