"""Audit of the labels of a run: the list of those to look at again, as a table and as a page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from ..data.base import Data
from ..data.labels import Tags
from ..data.pictured import PictureData
from ..data.source import load_any
from ..evaluation.auditing import judges, suspects
from ..evaluation.task import main_labels
from ..files import writing
from ..pages.sheet import Card, cards, write_sheet
from ..training.drawn import drawn
from ..training.run import Run, data_of
from ..training.start import load
from ..training.trained import trained_rows
from .opened import relabelled

SHOWN = 60
"""Suspects that a page shows, the surest ones."""
_SIDE = 160  # pixels of a picture, which people look at


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
        data: of the rows.
    """

    run: Run
    label: str
    fault: str
    looked: int
    by: str
    suspects: pl.DataFrame
    data: Data

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the table as CSV, and a page that shows and plays the surest suspects beside it.

        Returns:
            The path of the page, which opens offline.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as part:
            self.suspects.drop("row").write_csv(part)
        title = (
            f"{self.run.data}, {self.label}: {self.suspects.height:,} suspects of {self.looked:,} rows, by {self.by}, "
            "the surest first"
        )
        note = " ".join(filter(None, ["Nothing was changed.", self.data.attribution]))
        page = path.with_suffix(".html")
        return write_sheet(
            page, "Labels to look at again", {title: self._cards()}, note, "counterpoint data audit"
        )

    def _cards(self) -> list[Card]:
        surest = self.suspects.head(SHOWN)
        if surest.is_empty():
            return []
        rows = surest["row"].to_numpy(writable=True)
        columns = self.data.raw_columns(rows)
        if isinstance(self.data, PictureData):  # whole, where towers see a square of few pixels
            from torchvision.transforms.v2.functional import pil_to_tensor

            there = self.data.present("image", rows)
            columns["image"] = (
                "image",
                [
                    pil_to_tensor(self.data.shown(row, _SIDE).convert("RGB")) if seen else None
                    for row, seen in zip(rows.tolist(), there, strict=True)
                ],
            )
        told = [_lines(suspect) for suspect in surest.to_dicts()]
        return [replace(card, lines=lines) for card, lines in zip(cards(columns), told, strict=True)]


def audit(folder: str | os.PathLike[str], labels: str = "") -> Audit:
    """Return the rows to train on of a run whose label is probably wrong.

    Args:
        folder: of the run.
        labels: the label that is looked at; the one that the run learned unless given, or the first that its data has.

    Raises:
        UnknownNameError: for a label that the data does not have.
        LabelTypeError: for one that is neither classes nor tags.
        ValueError: for a folder that is no run, data without labels, and labels of fewer than two classes.
    """
    folder = Path(folder)
    run, model = Run.read(folder), load(folder)
    whole = load_any(data_of(folder), run.recipe.towers.image_size)
    data = drawn(run, relabelled(whole, run.labels))
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
    return Audit(run, label, fault, looked, by, suspected, whole)


def _lines(suspect: Mapping[str, Any]) -> list[str]:
    """Return the lines below a suspect: its key, and each class with what it is."""
    return [
        suspect["key"],
        f"given: {suspect['given']}",
        f"proposed: {suspect['proposed']} ({suspect['probability']:.3f})",
    ]
