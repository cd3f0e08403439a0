from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from counterpoint.data import PairedData, Splits
from counterpoint.diagnostics import Features, describe
from counterpoint.evaluation import DEFAULT_TASKS, STATISTICS, TASKS, create, evaluate
from counterpoint.evaluation.task import NotApplicable
from counterpoint.registry import UnknownName
from counterpoint.types import Embedder, Metric, Scores
from fixtures.tiny import Oracle, Pixels, TinyData

KEYS = [
    "task",
    "test",
    "subset",
    "metric",
    "value",
    "n",
    "chance",
    "higher_is_better",
    "outcome",
    "statistic",
]


def test_every_number_follows_from_the_long_table_and_survives_json(tiny_data: TinyData) -> None:
    results = evaluate(Pixels(), tiny_data)
    table, rows = results.examples(), results.scores()
    assert table.columns == ["task", "test", "example", "subset", "outcome", "value"]
    assert table.schema["example"] == pl.Int64
    assert table["value"].is_nan().sum() == 0
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    for row in rows:
        assert list(row) == KEYS
        found = table.filter(task=row["task"], test=row["test"], outcome=row["outcome"])
        if row["subset"] != "all":
            found = found.filter(subset=row["subset"])
        values = found["value"].to_numpy()
        assert len(values) == row["n"]
        assert STATISTICS[row["statistic"]](values) == pytest.approx(row["value"])


def test_every_task_set_and_subset_is_there_and_every_primary_metric_exists(tiny_data: TinyData) -> None:
    results = evaluate(Pixels(), tiny_data)
    found = {(r["task"], r["test"], r["subset"]) for r in results.scores()}
    subsets = ("all", "rest", "tone variants")
    assert found == {(t, s, b) for t in DEFAULT_TASKS for s in ("compositions", "concepts") for b in subsets}
    for name in TASKS.names():
        task = create(name)
        assert task.name == name
        try:
            scores = task(Pixels(), tiny_data, np.arange(70))
        except NotApplicable:  # a task on items, which this data has not
            assert name not in DEFAULT_TASKS
        else:
            assert task.primary in scores.metrics


def test_each_input_is_embedded_once_for_all_tasks_and_test_sets() -> None:
    data = TinyData()
    data.shifts = dict  # type: ignore[method-assign]
    images = torch.eye(70)
    texts: dict[str, Tensor] = {data.captions(row)[0]: images[row] for row in range(70)}
    for labels in data.labels.values():
        texts |= {t.format(n): images[0] for t in labels.templates for n in labels.names}
    model = Oracle(data, images, texts)
    features = Features(model, data)
    evaluate(features, data, tasks=("retrieval", "zero_shot", "probe"))
    describe(features, data, data.splits.test["concepts"])
    assert model.seen["image", "global"] == 30 + 10 + 10
    assert model.seen["text", "global"] <= 20 + sum(
        len(labels.names) * len(labels.templates) for labels in data.labels.values()
    )


def test_a_user_task_and_chosen_rows() -> None:
    class Colour:
        name, primary, modalities = "colour", "red", ("image",)

        def __call__(self, model: Embedder, data: PairedData, rows: np.ndarray) -> Scores:
            red = data.images(rows)[:, 0].float().mean((1, 2)).double().numpy()
            frame = pl.DataFrame({"example": data.ids[rows], "subset": ["all"] * len(rows), "red": red})
            return Scores(self.name, frame, {"red": Metric("red")})

    data = TinyData()
    rows = np.array([1, 5])
    results = evaluate(Pixels(), data, tasks=[Colour(), "retrieval"], tests={"mine": rows})
    assert results.value("colour", "mine", "red") == pytest.approx(
        data.images(rows)[:, 0].float().mean().item()
    )
    assert {row["statistic"] for row in results.scores() if row["task"] == "colour"} == {"mean"}
    assert set(results.examples()["example"]) == set(data.ids[rows].tolist())


def test_tasks_that_ask_for_labels_are_left_out_unless_named() -> None:
    data = TinyData()
    data.labels = {}
    results = evaluate(Pixels(), data)
    assert {row["task"] for row in results.scores()} == {"retrieval", "shift"}
    assert not any("group" in row["metric"] for row in results.scores())
    with pytest.raises(ValueError, match="zero_shot needs labels"):
        evaluate(Pixels(), data, tasks=["zero_shot"])


def test_bad_input_is_an_error_that_says_what_to_do(tiny_data: TinyData) -> None:
    with pytest.raises(UnknownName, match="did you mean 'retrieval'"):
        evaluate(Pixels(), tiny_data, tasks=["retreival"])
    with pytest.raises(ValueError, match="test set 'mine' of 'tiny' is empty"):
        evaluate(Pixels(), tiny_data, tests={"mine": np.array([], dtype=int)})
    with pytest.raises(ValueError, match="at least 2 example"):
        evaluate(Pixels(), tiny_data, tests={"mine": np.array([4])})
    nothing = TinyData()
    nothing.splits = Splits(nothing.splits.train, {}, {})
    with pytest.raises(ValueError, match="has no test set"):
        evaluate(Pixels(), nothing)
    results = evaluate(Pixels(), tiny_data, tasks=["retrieval"])
    with pytest.raises(UnknownName, match="unknown metric 'i2t_R@2'"):
        results.value("retrieval", "concepts", "i2t_R@2")
    assert math.isnan(results.value("retrieval", "concepts", "i2t_R@1", "no such subset"))


def test_a_diverged_model_is_an_error_and_no_perfect_score(tiny_data: TinyData) -> None:
    class Diverged(Pixels):
        def embed(self, modality: str, inputs: object, head: str = "default") -> Tensor:
            return torch.full((len(inputs), 4), torch.nan)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=r"10 of 10 image embeddings .* are NaN or infinite"):
        evaluate(Diverged(), tiny_data)


def test_the_same_call_gives_the_same_numbers(tiny_data: TinyData) -> None:
    first, second = (evaluate(Pixels(), tiny_data) for _ in range(2))
    assert first.examples().equals(second.examples())


def test_a_model_of_pictures_alone_is_asked_what_it_can_answer(tiny_data: TinyData) -> None:
    class Blind(Pixels):
        embeds = ("image",)

        def embed(self, modality: str, inputs: object, head: str = "default") -> Tensor:
            assert modality == "image"
            return super().embed(modality, inputs, head)

    results = evaluate(Blind(), tiny_data)
    assert {row["task"] for row in results.scores()} == {"probe"}
    numbers = describe(Blind(), tiny_data, tiny_data.splits.test["concepts"])
    assert "uniformity_image" in numbers
    assert not any("text" in name or "gap" in name for name in numbers)
