"""Predictions of a model that classifies, and the true classes as it numbers them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..data.base import Data, Rows
from ..data.embeddings import BATCH
from ..data.labels import listed
from ..types import Classifier, Target
from .task import NotApplicableError


class Truth(NamedTuple):
    """The classes of some rows, as a model numbers them.

    Attributes:
        target: the label that the model learned.
        classes: of every row, −1 where it has none.
    """

    target: Target
    classes: Int[np.ndarray, " n"]


def truth(model: Classifier, data: Data, rows: Rows, task: str) -> Truth:
    """Return the classes of rows by the label that a model learned.

    Raises:
        NotApplicableError: for data without that label, with other classes, or of which these rows have none.
        ValueError: for a model that learned no label.
    """
    if model.target is None:
        raise ValueError(f"{task} asks which class an example is of, and the model learned no label")
    label, classes = model.target.label, model.target.classes
    if label not in data.classes or data.classes[label].names != classes:
        raise NotApplicableError(
            f"{task} needs the label {label} that the model learned, with its classes ({', '.join(classes)}), and "
            f"{data.name!r} has {listed(data.labels) or 'none'}: leave the task out"
        )
    values = data.classes[label].values[rows]
    if not (values >= 0).any():
        raise NotApplicableError(f"{task}: no row of this test set of {data.name!r} has the label {label}")
    return Truth(model.target, values)


def probabilities(
    model: Classifier, data: Data, rows: Rows, withheld: Iterable[str] = ()
) -> Float[np.ndarray, "n classes"]:
    """Return the probability of every class for some rows; NaN for rows that the model cannot be asked about.

    Args:
        model: that answers.
        data, rows: what it is asked about. A column that the data does not have is missing in all rows.
        withheld: columns that the model is not shown.

    Raises:
        ValueError: for probabilities that are not finite.
    """
    assert model.target is not None
    columns = [column for column in model.columns if column in data.columns]
    hidden = frozenset(withheld)
    p = np.full((len(rows), len(model.target.classes)), np.nan)
    for start in range(0, len(rows), BATCH):
        positions = np.arange(start, min(start + BATCH, len(rows)))
        there = {
            column: data.present(column, rows[positions])
            if column in columns and column not in hidden
            else np.zeros(len(positions), dtype=bool)
            for column in model.columns
        }
        if model.incomplete == "drop":
            # Of the columns that it is trained on, a method may need some alone to answer.
            needed = getattr(model, "required", model.columns)
            whole = np.logical_and.reduce([there[column] for column in needed])
            positions, there = positions[whole], {column: has[whole] for column, has in there.items()}
        if len(positions):
            inputs = {c: data.read(c, rows[positions[has]]) for c, has in there.items() if has.any()}
            p[positions] = model.classify(inputs, there).double().cpu().numpy()
            if np.isnan(p[positions]).any():
                raise ValueError(
                    "the model's probabilities are not finite, so no score means anything: it has diverged, or an "
                    "input is broken"
                )
    return p
