"""What a task is, and what all tasks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..data.base import PairedData, Rows, SomeItems
from ..data.items import Items
from ..data.views import key
from ..types import Embedder, Metric, Scores

PANEL = 1 << 22
"""Similarities held at once."""


class NotApplicable(ValueError):
    """The data lacks what a task asks about."""


@runtime_checkable
class Task(Protocol):
    """Scores an embedder on some rows of a data set.

    Attributes:
        name: how users name it.
        primary: its main metric.
        modalities: what it needs embeddings of.
    """

    name: str
    primary: str
    modalities: tuple[str, ...]

    def __call__(self, model: Embedder, data: PairedData, rows: Rows) -> Scores: ...


def check_rows(data: PairedData, rows: Rows, task: str, least: int = 1) -> None:
    """Raise ValueError for a test set too small for a task."""
    if len(rows) < least:
        raise ValueError(
            f"{task} needs at least {least} example(s), and the test set of {data.name!r} has {len(rows)}: "
            f"make the split larger, or leave it or the task out"
        )


def captions_of(data: PairedData, rows: Rows) -> list[list[str]]:
    """The distinct evaluation captions of every row; ValueError if a row has none."""
    captions = [list(dict.fromkeys(data.evaluation_captions(int(row)))) for row in rows]
    for row, own in zip(rows, captions, strict=True):
        if not own:
            raise ValueError(f"example {data.ids[row]} of {data.name!r} has no caption to be found by")
    return captions


def check_labels(data: PairedData, wanted: tuple[str, ...], task: str) -> tuple[str, ...]:
    """Those of the wanted labels (all, if none are named) that the data has; else `NotApplicable`."""
    found = tuple(name for name in wanted or data.labels if name in data.labels)
    if not found:
        raise NotApplicable(
            f"{task} needs {'one of the labels ' + ', '.join(wanted) if wanted else 'labels'}, and "
            f"{data.name!r} has {', '.join(data.labels) or 'none'}: leave the task out"
        )
    return found


def items_of(
    data: PairedData, form: type[SomeItems], rows: Rows, task: str, kinds: Sequence[str] | None = None
) -> SomeItems:
    """The items of some rows.

    Raises:
        NotApplicable: if there are none of this form, or of these kinds.
    """
    wanted = form.__name__.lower() + ("" if kinds is None else f" of kind {', '.join(kinds)}")
    try:
        items = data.items(form, rows, kinds)
    except LookupError as error:
        reason = error.args[0] if error.args else error
        raise NotApplicable(f"{task} asks about {wanted}, and there are none: {reason}") from error
    if not len(items):
        raise NotApplicable(f"{task} asks about {wanted}, and these rows of {data.name!r} have none")
    return items


def check_data(task: Task, data: PairedData) -> None:
    """Raise `NotApplicable` for a task of labels or items where the data or one of its test sets has none of them.

    A task that asks more of its items than their form has a ``check_items``.
    """
    labels: tuple[str, ...] | None = getattr(task, "labels", None)
    if labels is not None:
        check_labels(data, labels, task.name)
    form: type[Items] | None = getattr(task, "form", None)
    if form is not None:
        check_items: Callable[[Items], None] = getattr(task, "check_items", lambda items: None)
        for rows in data.splits.test.values():
            check_items(items_of(data, form, rows, task.name))


def check_model(task: Task, model: Embedder, data: PairedData) -> None:
    """Raise ValueError for a model that a task cannot ask, however it is trained: one that has a ``check_model``."""
    own: Callable[[Embedder, PairedData], None] | None = getattr(task, "check_model", None)
    if own is not None:
        own(model, data)


def scores(
    task: str, data: PairedData, rows: Rows, outcomes: Mapping[str, np.ndarray], metrics: Mapping[str, Metric]
) -> Scores:
    """Outcomes ``(n,)`` per row as `Scores`; NaN (not applicable) becomes null."""
    return table(task, data.ids[rows], [str(s) for s in data.subsets[rows]], outcomes, metrics)


def table(
    task: str,
    ids: Int[np.ndarray, " n"],
    subsets: Sequence[str],
    outcomes: Mapping[str, np.ndarray],
    metrics: Mapping[str, Metric],
) -> Scores:
    """Outcomes ``(n,)`` of the examples of these ids and subsets as `Scores`; NaN becomes null."""
    columns = {
        name: pl.Series(values, dtype=pl.Float64, nan_to_null=True) for name, values in outcomes.items()
    }
    named = {
        "example": pl.Series(ids, dtype=pl.Int64),
        "subset": pl.Series(list(subsets), dtype=pl.String),
    }
    return Scores(task, pl.DataFrame(named | columns), metrics)


def spread(values: np.ndarray, positions: Int[np.ndarray, " k"], n: int) -> Float[np.ndarray, " n"]:
    """Outcomes of some positions as outcomes of all ``n``, NaN elsewhere."""
    whole = np.full(n, np.nan)
    whole[positions] = values
    return whole


def chosen(data: PairedData, rows: Rows, limit: int, purpose: str) -> Int[np.ndarray, " k"]:
    """Positions of at most ``limit`` rows: those whose ids have the smallest hashes, whatever the model."""
    hashes = key(0, 0, data.ids[rows], f"evaluation.{purpose}")
    return np.sort(np.argsort(hashes, kind="stable")[:limit])


def top1(scores: Float[Tensor, "n k"], target: Int[Tensor, " n"]) -> Float[np.ndarray, " n"]:
    """Whether the target has the highest score; the probability of a fair draw where several tie for it.

    >>> top1(torch.tensor([[0.1, 0.9], [-0.5, -0.5]]), torch.tensor([1, 0])).tolist()
    [1.0, 0.5]
    """
    best: Bool[Tensor, "n k"] = scores == scores.amax(1, keepdim=True)
    hit = best.gather(1, target[:, None])[:, 0].double() / best.sum(1)
    result: np.ndarray = hit.numpy()
    return result


def panels(rows: int, columns: int) -> list[slice]:
    """Slices of consecutive rows such that no panel of rows × columns holds more than `PANEL` numbers."""
    size = max(1, PANEL // max(columns, 1))
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def similarity(model: Embedder, a: Float[Tensor, "n d"], b: Float[Tensor, "m e"]) -> Float[Tensor, "n m"]:
    """The model's similarity, checked: NaN is neither above nor below anything, and would rank first."""
    panel = model.similarity(a, b)
    if torch.isnan(panel).any():
        raise ValueError("the model's similarity returned NaN, so no rank means anything")
    return panel
