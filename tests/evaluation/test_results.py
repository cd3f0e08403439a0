from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from counterpoint.data import Classes, PairedData, Splits
from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.data.source import load_any
from counterpoint.diagnostics import describe
from counterpoint.evaluation import (
    DEFAULT_TASKS,
    create,
    default_tasks,
    evaluate,
)
from counterpoint.evaluation.results import RunResults
from counterpoint.evaluation.statistic import mean_per_class
from counterpoint.evaluation.task import EmbedderTask, NotApplicableError, check_data
from counterpoint.registry import UnknownNameError
from counterpoint.types import Embedder, Metric, Scores
from fixtures.tiny import Oracle, Pixels, TinyData


class OwnLabels(TinyData):
    """Labels as a user has them: an animal for every row, a size for the first half; none is called group."""

    def __init__(self) -> None:
        super().__init__()
        rows = np.arange(70)
        self.labels = {
            "size": Classes(("small", "large"), np.where(rows % 14 < 7, rows % 2, -1)),
            "animal": Classes(("cat", "dog", "owl"), np.array([0, 0, 0, 1, 1, 2, 0])[rows % 7]),
        }


KEYS = [
    "task",
    "test",
    "subset",
    "metric",
    "value",
    "n",
    "chance",
    "constant",
    "role",
    "higher_is_better",
    "columns",
    "statistic",
    "bounds",
]


def test_results_are_a_long_table_and_rows_that_survive_json(tiny_data: TinyData) -> None:
    results = evaluate(Pixels(), tiny_data)
    table, rows = results.examples(), results.scores()
    assert table.columns == ["task", "test", "example", "subset", "outcome", "value"]
    assert table.schema["example"] == pl.Int64
    assert table["value"].is_nan().sum() == 0
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    for row in rows:
        assert list(row) == KEYS


def test_every_task_set_and_subset_is_there(tiny_data: TinyData) -> None:
    results = evaluate(Pixels(), tiny_data)
    found = {(r["task"], r["test"], r["subset"]) for r in results.scores()}
    subsets = ("all", "rest", "tone variants")
    assert found == {(t, s, b) for t in DEFAULT_TASKS for s in ("compositions", "concepts") for b in subsets}


def test_each_input_is_embedded_once_for_all_tasks_and_test_sets() -> None:
    data = TinyData()
    data.shifts = dict  # type: ignore[method-assign]
    images = torch.eye(70)
    texts: dict[str, Tensor] = {data.captions(row)[0]: images[row] for row in range(70)}
    for labels in data.labels.values():
        texts |= {t.format(n): images[0] for t in labels.templates for n in labels.names}
    model = Oracle(data, images, texts)
    features = EmbeddingCache(model, data)
    evaluate(features, data, tasks=("retrieval", "zero_shot", "probe"))
    describe(features, data, data.splits.test["concepts"])
    assert model.seen["image", "global"] == 30 + 10 + 10
    assert model.seen["text", "global"] <= 20 + sum(
        len(labels.names) * len(labels.templates) for labels in data.labels.values()
    )


def test_a_user_task_and_chosen_rows() -> None:
    class Colour(EmbedderTask):
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


def test_tags_and_numbers_that_are_learned_are_asked_about() -> None:
    data = load_any("scenes:basic,train=60,validation=6,test=12")
    assert default_tasks(data) == ("retrieval", "zero_shot", "probe", "shift")
    for label, task in (("size", "regression"), ("concepts", "multi_label")):
        assert default_tasks(data.learning(label)) == ("retrieval", "zero_shot", task, "probe", "shift")
    assert default_tasks(data.learning("colour")) == default_tasks(data)


def test_the_main_metrics_are_those_of_the_data_s_own_labels(tiny_data: TinyData) -> None:
    rows = evaluate(Pixels(), OwnLabels()).scores()
    roles = {(r["task"], r["metric"]): r["role"] for r in rows if r["subset"] == "all"}
    assert {key for key, role in roles.items() if role == "primary"} == {
        ("retrieval", "i2t_R@1"),
        ("zero_shot", "animal_top1"),  # every row has one, and half of them have a size
        ("probe", "logistic_animal_top1"),
        ("shift", "corruption_100way"),
    }
    assert {key for key, role in roles.items() if role == "main"} == {
        ("zero_shot", "size_top1"),
        ("probe", "logistic_size_top1"),
        ("shift", "corruption_animal_top1"),
        ("shift", "corruption_size_top1"),
    }
    # Where all rows have all labels, the one that is named first counts.
    assert create("zero_shot").main_metrics(tiny_data)[:2] == ("group_top1", "subgroup_top1")


def test_no_constant_answer_is_better_than_one_that_is_stated() -> None:
    """Every answer that is the same for all examples, tried one by one, on all rows and on a subset."""
    data = OwnLabels()
    rows = np.arange(40)
    values = data.labels["animal"].values
    zero_shot, probe = (create(name)(Pixels(), data, rows) for name in ("zero_shot", "probe"))
    for subset, kept in (("all", rows), ("rest", rows[data.subsets[rows] == "rest"])):
        shares = [float(np.mean(values[kept] == k)) for k in range(3)]
        assert zero_shot.constant("animal_top1", subset) == pytest.approx(max(shares))
        assert probe.constant("knn_animal_top1", subset) == pytest.approx(max(shares))
        per_class = [
            mean_per_class(np.stack([values[kept], values[kept] == k], 1).astype(float)) for k in range(3)
        ]
        assert zero_shot.constant("animal_mean_per_class", subset) == pytest.approx(max(per_class))
    assert zero_shot.constant("animal_top1") != zero_shot.constant("animal_mean_per_class")
    assert zero_shot.constant("size_top1", "no such subset") is None


def test_task_whose_labels_no_test_example_refused_before() -> None:
    data = OwnLabels()
    tests = np.concatenate([*data.splits.test.values()])
    for name, labels in data.labels.items():
        values = labels.values.copy()
        values[tests] = -1
        data.labels = {**data.labels, name: Classes(labels.names, values)}
    for task in ("zero_shot", "probe"):
        with pytest.raises(
            NotApplicableError, match="needs a label of at least two classes that some test examples"
        ):
            check_data(create(task), data)
    assert default_tasks(data) == ("retrieval", "shift")


def test_bad_input_is_an_error_that_says_what_to_do(tiny_data: TinyData) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'retrieval'"):
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
    with pytest.raises(UnknownNameError, match="unknown metric 'i2t_R@2'"):
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


def test_a_model_that_no_task_asks_has_no_outcomes() -> None:
    assert RunResults({}).examples().is_empty()
