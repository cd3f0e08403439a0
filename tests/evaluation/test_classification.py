"""The tasks that ask a model for classes: parity with scikit-learn, gaps, what withholding columns costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest
import torch
from jaxtyping import Bool
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score
from torch import Tensor

from counterpoint.data.base import Data, Rows, Splits
from counterpoint.data.labels import Classes
from counterpoint.evaluation import create, evaluate
from counterpoint.evaluation.statistic import auroc, calibration_error
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.raw import Table
from counterpoint.types import Target

CLASSES = ("low", "middle", "high")


class Cells(Data):
    """Rows of two tables, one number each, which the second lacks in every third row."""

    columns: Mapping[str, str] = {"table": "table", "second": "table"}
    name = "cells"

    def __init__(self, classes: tuple[str, ...] = CLASSES, n: int = 60) -> None:
        rng = np.random.default_rng(0)
        self.ids = 10 + np.arange(n)
        rows = np.arange(n)
        self.splits = Splits(rows[:0], {}, {"test": rows})
        values = rng.integers(0, len(classes), n)
        values[5] = -1
        self.labels: Mapping[str, Classes] = {"risk": Classes(classes, values)}
        self.cells = {column: values + rng.normal(0, 1.5, n) for column in self.columns}

    def read(self, column: str, rows: Rows) -> Table:
        values = torch.from_numpy(self.cells[column][rows])
        return Table(values[:, None].float(), ("value",), ((),))

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        return np.asarray(rows) % 3 != 0 if column == "second" else np.ones(len(rows), dtype=bool)


@dataclass
class Nearest:
    """A model that takes the mean of the numbers that it is shown, and the class nearest to that."""

    target: Target | None
    incomplete: Literal["drop", "use"] = "use"
    shares_space = False
    columns: Mapping[str, str] = field(default_factory=lambda: {"table": "table", "second": "table"})
    heads: tuple[str, ...] = ("global",)

    def classify(self, inputs: Mapping[str, Any], present: Any = None) -> Tensor:
        assert self.target is not None
        n, k = len(next(iter(present.values()))), len(self.target.classes)
        total, count = torch.zeros(n), torch.zeros(n)
        for column, raw in inputs.items():
            there = torch.from_numpy(present[column])
            total[there] += raw.cells[:, 0]
            count += there
        value = torch.where(count == 0, (k - 1) / 2, total / count.clamp_min(1))
        return (-((value[:, None] - torch.arange(k)) ** 2)).softmax(1)

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        raise AssertionError("nobody asked for embeddings")

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        raise AssertionError("nobody asked for similarities")


def model(classes: tuple[str, ...] = CLASSES, **options: Any) -> Nearest:
    return Nearest(Target("risk", classes), **options)


def expected(data: Cells, rows: Rows, columns: tuple[str, ...] = ("table", "second")) -> np.ndarray:
    """The model's probabilities, one row at a time."""
    found = []
    for row in rows:
        one = np.array([row])
        there = {c: data.present(c, one) & (c in columns) for c in data.columns}
        inputs = {c: data.read(c, one) for c, has in there.items() if has[0]}
        found.append(model(data.labels["risk"].names).classify(inputs, there)[0].numpy())
    return np.array(found, dtype=np.float64)


@pytest.mark.parametrize("classes", [("no", "yes"), CLASSES])
def test_numbers_are_scikit_learns(classes: tuple[str, ...]) -> None:
    data = Cells(classes)
    results = evaluate(model(classes), data, ["classification"])
    rows = np.delete(np.arange(60), 5)
    p, truth = expected(data, rows), data.labels["risk"].values[rows]

    def value(metric: str) -> float:
        return results.value("classification", "test", metric)

    assert value("accuracy") == pytest.approx(accuracy_score(truth, p.argmax(1)))
    assert value("macro_f1") == pytest.approx(f1_score(truth, p.argmax(1), average="macro"))
    if len(classes) == 2:
        assert value("auroc") == pytest.approx(roc_auc_score(truth, p[:, 1]))
    else:
        each = [value(f"auroc_{name}") for name in classes]
        assert np.mean(each) == pytest.approx(roc_auc_score(truth, p, multi_class="ovr"))
    (scores,) = results.by_test["test"]
    assert scores.main == ("accuracy",)
    assert scores.constant("accuracy") == np.bincount(truth).max() / len(truth)
    commonest = np.full_like(truth, np.bincount(truth).argmax())
    assert scores.constant("macro_f1") == pytest.approx(f1_score(truth, commonest, average="macro"))


def test_answer_is_told_by_class_by_shot_and_beside_confidence() -> None:
    data = Cells()
    # Of the first class 18 rows are to train on, of the others 20 and more.
    data.splits = Splits(np.arange(60), {}, data.splits.test)
    results = evaluate(model(), data, ["classification"])
    rows = np.delete(np.arange(60), 5)
    p, truth = expected(data, rows), data.labels["risk"].values[rows]
    hits = p.argmax(1) == truth

    def value(metric: str) -> float:
        return results.value("classification", "test", metric)

    for number, name in enumerate(CLASSES):
        assert value(f"accuracy_on_{name}") == pytest.approx(hits[truth == number].mean())
    assert value("accuracy_few") == pytest.approx(hits[truth == 0].mean())
    assert value("accuracy_medium") == pytest.approx(hits[truth > 0].mean())
    assert value("mean_per_class") == pytest.approx(balanced_accuracy_score(truth, p.argmax(1)))
    assert value("calibration_error") == pytest.approx(calibration_error(np.stack([p.max(1), hits], 1)))


def test_auroc_counts_ties_half_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, score = rng.integers(0, 2, 30), rng.integers(0, 4, 30)
        if 0 < truth.sum() < 30:
            values = np.stack([truth, score], 1).astype(float)
            assert auroc(values) == pytest.approx(roc_auc_score(truth, score))
    assert auroc(np.array([[1.0, 0.3], [1.0, 0.2]])) == 0.5


def test_rows_that_a_model_cannot_be_asked_about_have_no_outcome() -> None:
    data = Cells()
    (scores,) = evaluate(model(incomplete="drop"), data, ["classification"]).by_test["test"]
    asked = scores.examples.drop_nulls("accuracy")["example"].to_numpy() - 10
    assert asked.tolist() == [row for row in range(60) if row % 3 and row != 5]


def test_withheld_columns() -> None:
    data = Cells()
    results = evaluate(model(), data, ["missing_modality"])
    (scores,) = results.by_test["test"]
    rows = np.delete(np.arange(60), 5)
    truth = data.labels["risk"].values[rows]
    p = {shown: expected(data, rows, shown) for shown in [(), ("table",), ("second",), ("table", "second")]}
    hits = {shown: (of.argmax(1) == truth).mean() for shown, of in p.items()}
    got = {name: scores.value(name) for name in scores.metrics}
    assert got["accuracy"] == pytest.approx(hits["table", "second"])
    assert got["without_second"] == pytest.approx(hits["table",])
    assert got["withheld_accuracy"] == pytest.approx((hits["table",] + hits["second",]) / 2)
    assert got["drop_table"] == pytest.approx(hits["table", "second"] - hits["second",])
    assert set(got) == {"accuracy", "withheld_accuracy", "without_table", "without_second"} | {
        f"{word}_{column}" for word in ("drop", "importance") for column in ("table", "second")
    }
    frame = scores.examples.drop_nulls("accuracy")
    gained = (p["table", "second"] - p[()])[np.arange(len(rows)), truth]
    total = (frame["importance_table"] + frame["importance_second"]).to_numpy()
    np.testing.assert_allclose(total, gained, atol=1e-6)
    lacking = frame.filter(frame["example"].is_in(10 + 3 * np.arange(20)))
    np.testing.assert_allclose(lacking["importance_second"].to_numpy(), 0, atol=1e-7)


def test_model_needs_all_columns_is_not_asked_it_does_without() -> None:
    with pytest.raises(ValueError, match="missing_modality withholds columns, and Nearest needs all of"):
        evaluate(model(incomplete="drop"), Cells(), ["missing_modality"])


def test_without_a_label_or_with_another_nothing_is_asked() -> None:
    data = Cells()
    with pytest.raises(ValueError, match="classification is a task for models that name the classes"):
        evaluate(Nearest(None), data, ["classification"])
    with pytest.raises(
        NotApplicableError, match="needs the label risk that the model learned, with its classes"
    ):
        create("classification")(model(("a", "b")), data, np.arange(60))
    with pytest.raises(NotApplicableError, match="withholds some of 2 to 6 columns"):
        create("missing_modality")(model(columns={"table": "table"}), data, np.arange(60))
