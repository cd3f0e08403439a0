"""The task, and the functions that all tasks share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeGuard

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..data.base import Data, Rows, SomeItems
from ..data.columns import fits, subject
from ..data.embeddings import EmbeddingCache
from ..data.items import Items
from ..data.labels import Classes, Label, Numbers, listed, whole_numbers
from ..data.pictured import PairedData
from ..data.views import key
from ..ranges import Checked
from ..reasons import counted
from ..types import Assistant, Classifier, DrawsWords, Embedder, Metric, Scores

PANEL = 1 << 22
"""Similarities held at once."""


class NotApplicableError(ValueError):
    """The error for data that lack what a task asks about."""


ModelKind = Literal["embedder", "assistant", "classifier", "painter"]
"""Models that tasks ask: one that embeds, one that answers in words, one that names the classes of a label, and one
that draws new words."""


class Task(Checked, ABC):
    """A task: it scores a model on some rows of a data set.

    Subclass `EmbedderTask`, `AnsweringTask`, `ClassifierTask` or `PainterTask`. A task is found by its file, which is
    named after it, in ``counterpoint/evaluation/tasks``.

    Attributes:
        name: what users write.
        asks: the models that it can ask.
        primary: the metric that a verdict is about first; empty where it depends on the columns or labels of the data.
        modalities: the modalities that it needs embeddings of, ``ANY`` for one more of whatever modality.
        reads: the columns that it reads of the data, ``ANY`` for one more of whatever name.
        labels: the labels that it asks about, where the data has them; ``()``: all of the data; None: none.
        kind: of these labels.
        label: the one label whose classes it answers with; empty where it answers with none or with several.
        form: the form of the items that it asks about; None: it asks about plain pairs.
        least: the examples that a test set has at least.
        joint: it asks models that score pairs jointly (`counterpoint.types.PairScorer`) for these scores too, so that a
            model without the embeddings can be asked.
        learns: it learns from the training rows of the data, so that it may only be asked about others.
        draws: its examples are draws of several rows each, of which none can be shown by itself.
        papers: slugs of the papers that it comes from.
        family: the word under which `counterpoint list` shows it.
    """

    name: str
    asks: ClassVar[tuple[ModelKind, ...]]
    primary: str = ""
    modalities: tuple[str, ...] = ()
    reads: tuple[str, ...] = ("image", "text")
    labels: tuple[str, ...] | None = None
    kind: ClassVar[type[Label]] = Classes
    label: str = ""
    form: type[Items] | None = None
    least: int = 1
    joint: ClassVar[bool] = False
    learns: bool = False
    draws: ClassVar[bool] = False
    papers: ClassVar[tuple[str, ...]] = ()
    family: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, model: Any, data: Any, rows: Rows) -> Scores:
        """Return the outcomes of every example, and the metrics made of them.

        Raises:
            NotApplicableError: if the data lack what the task asks about.
            ValueError: if there are no rows, or fewer than the task needs.
        """

    def main_metrics(self, data: Any) -> tuple[str, ...]:
        """Return the metrics that verdicts are about, the primary one first, then those of other labels and columns."""
        return (self.primary,)

    def check_columns(self, data: Data) -> None:
        """Raise `NotApplicableError` for data with columns that the task cannot ask about, though there are as many."""
        return None

    def check_items(self, items: Items) -> None:
        """Raise `NotApplicableError` for items that lack what the task asks of them beyond their form."""
        return None

    def check_model(self, model: Any, data: Any) -> None:
        """Raise ValueError for a model that the task cannot ask, however it is trained."""
        return None

    def can_ask(self, model: Any) -> bool:
        """Return whether a model is of the kind that the task asks; beside others, one that is not has no number."""
        return True


class EmbedderTask(Task):
    """A task for models that embed columns of the data."""

    asks: ClassVar[tuple[ModelKind, ...]] = ("embedder",)

    @abstractmethod
    def __call__(self, model: Embedder, data: PairedData, rows: Rows) -> Scores: ...


class AnsweringTask(Task):
    """A task for models that answer in words."""

    asks: ClassVar[tuple[ModelKind, ...]] = ("assistant",)

    def can_ask(self, model: Any) -> bool:
        return isinstance(model, Assistant)

    def check_model(self, model: Any, data: Any) -> None:
        if not self.can_ask(model):
            raise ValueError(
                f"{self.name} asks models that answer in words, as sft trains them: leave the task out"
            )

    @abstractmethod
    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        """Return the outcomes of every example, and the metrics made of them.

        Args:
            assistant: is asked.
            data: what it is asked about.
            rows: of the data.
            seed: of the sampling, where the model samples.

        Raises:
            NotApplicableError: if the data lack what the task asks about.
            ValueError: if there are no rows, or fewer than the task needs.
        """


class ClassifierTask(Task):
    """A task for models that name the classes of the label that they learned."""

    asks: ClassVar[tuple[ModelKind, ...]] = ("classifier",)

    @abstractmethod
    def __call__(self, model: Classifier, data: Data, rows: Rows) -> Scores: ...

    def can_ask(self, model: Any) -> bool:
        return is_classifier(model)

    def check_model(self, model: Any, data: Data) -> None:
        if not is_classifier(model):
            raise ValueError(
                f"{self.name} asks which class an example is of, and this model learned no label: give --labels NAME "
                "to arms that learn one (cross-entropy, late, multimodn, m3col), or leave the task out"
            )


class PainterTask(Task):
    """A task for models that draw new words."""

    asks: ClassVar[tuple[ModelKind, ...]] = ("painter",)

    @abstractmethod
    def __call__(self, model: DrawsWords, data: Data, rows: Rows) -> Scores: ...

    def can_ask(self, model: Any) -> bool:
        return isinstance(model, DrawsWords)

    def check_model(self, model: Any, data: Any) -> None:
        if not self.can_ask(model):
            raise ValueError(
                f"{self.name} asks models that draw new words, as textual-inversion learns them: leave the task out"
            )


def is_classifier(model: object) -> TypeGuard[Classifier]:
    """Return whether a model learned the classes of a label."""
    return isinstance(model, Classifier) and model.target is not None


def check_rows(data: Data, rows: Rows, task: str, least: int = 1, split: str = "test set") -> None:
    """Raise ValueError for a split that is too small for a task."""
    if len(rows) < least:
        raise ValueError(
            f"{task} needs at least {counted(least, 'example')}, and the {split} of {data.name!r} has {len(rows)}: "
            f"make the split larger, or leave it or the task out"
        )


def captions_of(data: Data, rows: Rows, column: str = "text") -> list[list[str]]:
    """Return the distinct texts of every row that count as right; ValueError if a row has none."""
    captions = [list(dict.fromkeys(data.evaluation_texts(column, int(row)))) for row in rows]
    for row, of_row in zip(rows, captions, strict=True):
        if not of_row:
            raise ValueError(f"example {data.ids[row]} of {data.name!r} has no caption to be found by")
    return captions


def check_labels(
    data: Data, wanted: tuple[str, ...], task: str, kind: type[Label] = Classes
) -> tuple[str, ...]:
    """Return the wanted labels (all, if none are named) of a kind that the data has.

    Raises:
        NotApplicableError: if it has none; the message gives those that there are.
    """
    there = data.labels_of(kind)
    labels = tuple(name for name in wanted or _default_labels(data, kind) if name in there)
    if not labels:
        what = "labels" if kind is Classes else f"labels that are {kind.kind}"
        refused = "".join(
            f"; {name} is none: {data.refused[name]}" for name in wanted if name in data.refused
        )
        asked = {name: data.labels[name] for name in wanted if name in data.labels and kind is Numbers}
        advice = "".join(whole_numbers(label, name) for name, label in asked.items())
        raise NotApplicableError(
            f"{task} needs {f'one of the {what} ' + ', '.join(wanted) if wanted else what}, and "
            f"{data.name!r} has {listed(data.labels) or 'none'}{refused}: leave the task out{advice}"
        )
    return labels


def _default_labels(data: Data, kind: type[Label]) -> list[str]:
    """Return the labels that are asked about where none is named: of classes those that can be said of an example."""
    return [
        name
        for name, label in data.labels_of(kind).items()
        if not isinstance(label, Classes) or label.templates
    ]


def main_labels(data: Data, wanted: Sequence[str], kind: type[Label] = Classes) -> tuple[str, ...]:
    """Order the wanted labels (all, if none are named) of a kind that the data has: first the one of a verdict.

    The label that training learns from comes first where the data names one (`counterpoint.data.Data.learned`), then
    that which most test rows have, of equals the one that the data names first. Behind all stands a label of which
    training has no class that is tested, as patients whose rows stay together are: nobody can learn it. A label of
    fewer than two classes tells nothing apart and is left out.
    """
    tests = np.concatenate([*data.splits.test.values(), np.array([], dtype=np.int64)])
    there = data.labels_of(kind)
    names = [
        name
        for name in wanted or _default_labels(data, kind)
        if name in there and (kind is not Classes or len(there[name].names) > 1)
    ]

    def rank(name: str) -> tuple[bool, bool, int]:
        label = there[name]
        known = label.known[tests]
        train = data.splits.train
        strange = (
            isinstance(label, Classes)
            and len(train) > 0
            and not np.isin(label.values[tests][known], label.values[train]).any()
        )
        return name != data.learned, strange, -int(known.sum())

    return tuple(sorted(names, key=rank))


def items_of(
    data: Data, form: type[SomeItems], rows: Rows, task: str, kinds: Sequence[str] | None = None
) -> SomeItems:
    """Return the items of some rows.

    Raises:
        NotApplicableError: if there are none of this form, or of these kinds.
    """
    wanted = form.called + ("" if kinds is None else f" of kind {', '.join(kinds)}")
    try:
        items = data.items(form, rows, kinds)
    except LookupError as error:
        reason = error.args[0] if error.args else error
        raise NotApplicableError(f"{task} asks about {wanted}, and there are none: {reason}") from error
    if not len(items):
        raise NotApplicableError(f"{task} asks about {wanted}, and these rows of {data.name!r} have none")
    return items


def asked_column(task: str, features: EmbeddingCache) -> str:
    """Return the column whose examples are classified, of those that data and model have both.

    Raises:
        NotApplicableError: if there is none.
    """
    column = subject(features.shared)
    if column is None:
        raise NotApplicableError(
            f"{task} asks about a column that the model embeds ({', '.join(features.embeds)}), and "
            f"{features.data.name!r} has {', '.join(features.data.columns)}: leave the task out"
        )
    return column


_COLUMNS: Mapping[tuple[str, ...], str] = {
    ("image", "text"): "pictures with captions",
    ("image",): "pictures",
}
"""Columns that tasks read, in words."""
_MODELS: Mapping[ModelKind, str] = {
    "embedder": "models that embed columns of the data",
    "assistant": "models that answer in words",
    "classifier": "models that name the classes of a label",
    "painter": "models that draw new words",
}


def check_asks(task: Task, *asked: ModelKind) -> None:
    """Raise ValueError for a task that cannot ask such a model, which may be several things at once."""
    if not set(asked) & set(task.asks):
        raise ValueError(
            f"{task.name} is a task for {_MODELS[task.asks[0]]}, and here are {_MODELS[asked[0]]}: leave the task out"
        )


def check_columns(task: Task, data: Data) -> None:
    """Raise `NotApplicableError` for a task that reads columns which the data does not have."""
    if not fits(task.reads, tuple(data.columns)):
        about = _COLUMNS.get(task.reads, counted(len(task.reads), "column"))
        raise NotApplicableError(
            f"{task.name} asks about {about}, and {data.name!r} has the columns {', '.join(data.columns)}: leave the "
            "task out"
        )
    task.check_columns(data)


def check_training(task: Task, data: Data) -> None:
    """Raise `NotApplicableError` for a task that learns where there is nothing to learn from."""
    if task.learns and not len(data.splits.train):
        raise NotApplicableError(
            f"{task.name} learns from the training split of {data.name!r}, which is empty"
        )


def check_data(task: Task, data: Data) -> None:
    """Raise `NotApplicableError` if a task needs columns, labels, items or training rows that the data lacks."""
    check_columns(task, data)
    check_training(task, data)
    if task.labels is not None:
        check_labels(data, task.labels, task.name, task.kind)
        tests = np.concatenate([*data.splits.test.values(), np.array([], dtype=np.int64)])
        labels = main_labels(data, task.labels, task.kind)
        if len(tests) and not any(data.labels[name].known[tests].any() for name in labels):
            what = "a label of at least two classes" if task.kind is Classes else f"{task.kind.kind}"
            raise NotApplicableError(
                f"{task.name} needs {what} that some test examples have, and {data.name!r} has none: leave the task out"
            )
    if task.form is not None:
        for rows in data.splits.test.values():
            task.check_items(items_of(data, task.form, rows, task.name))


def scores(
    task: str, data: Data, rows: Rows, outcomes: Mapping[str, np.ndarray], metrics: Mapping[str, Metric]
) -> Scores:
    """Wrap outcomes ``(n,)`` per row as `Scores`; NaN (not applicable) becomes null."""
    return table(task, data.ids[rows], [str(s) for s in data.subsets[rows]], outcomes, metrics)


def table(
    task: str,
    ids: Int[np.ndarray, " n"],
    subsets: Sequence[str],
    outcomes: Mapping[str, np.ndarray],
    metrics: Mapping[str, Metric],
) -> Scores:
    """Wrap outcomes ``(n,)`` of the examples of these ids and subsets as `Scores`; NaN becomes null.

    Raises:
        ValueError: if two examples have the same id.
    """
    if len(np.unique(ids)) < len(ids):
        raise ValueError(
            f"{task}: two examples have the same id, so that their outcomes cannot be told apart"
        )
    columns = {
        name: pl.Series(values, dtype=pl.Float64, nan_to_null=True) for name, values in outcomes.items()
    }
    named = {
        "example": pl.Series(ids, dtype=pl.Int64),
        "subset": pl.Series(list(subsets), dtype=pl.String),
    }
    return Scores(task, pl.DataFrame(named | columns), metrics)


def scatter(values: np.ndarray, positions: Int[np.ndarray, " k"], n: int) -> Float[np.ndarray, " n"]:
    """Spread outcomes of some positions over all ``n``, NaN elsewhere."""
    whole = np.full(n, np.nan)
    whole[positions] = values
    return whole


def subsample_by_hash(data: Data, rows: Rows, limit: int, purpose: str) -> Int[np.ndarray, " k"]:
    """Choose at most ``limit`` rows, those whose ids have the smallest hashes, whatever the model."""
    hashes = key(0, 0, data.ids[rows], f"evaluation.{purpose}")
    return np.sort(np.argsort(hashes, kind="stable")[:limit])


def top1(scores: Float[Tensor, "n k"], target: Int[Tensor, " n"]) -> Float[np.ndarray, " n"]:
    """Return 1 where the target has the highest score, else 0; the probability of a fair draw where several tie.

    >>> top1(torch.tensor([[0.1, 0.9], [-0.5, -0.5]]), torch.tensor([1, 0])).tolist()
    [1.0, 0.5]
    """
    best: Bool[Tensor, "n k"] = scores == scores.amax(1, keepdim=True)
    hit = best.gather(1, target[:, None])[:, 0].double() / best.sum(1)
    return hit.numpy()


def row_chunks(rows: int, columns: int) -> list[slice]:
    """Cut rows into consecutive slices such that no panel of rows × columns holds more than `PANEL` numbers."""
    size = max(1, PANEL // max(columns, 1))
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def similarity(model: Embedder, a: Float[Tensor, "n d"], b: Float[Tensor, "m e"]) -> Float[Tensor, "n m"]:
    """Return the model's similarity, checked: NaN is neither above nor below anything, and would rank first."""
    panel = model.similarity(a, b)
    if torch.isnan(panel).any():
        raise ValueError("the model's similarity returned NaN, so no rank means anything")
    return panel
