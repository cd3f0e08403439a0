"""Properties of every task; a task is found by its file, and needs no entry here.

Its data are the first of `WORLDS` that have what it asks about; its models know nothing, so that whatever a task does
with right and wrong answers occurs.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Literal
from zlib import crc32

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from torch import Tensor

from counterpoint.data.base import Data, Rows
from counterpoint.data.source import load_any
from counterpoint.evaluation import STATISTICS, TASKS, RunResults, Task, create, evaluate
from counterpoint.evaluation.statistic import name_of
from counterpoint.evaluation.task import ModelKind, NotApplicableError, check_data
from counterpoint.study.scored import limits
from counterpoint.types import Assistant, Classifier, Embedder, Prompt, Scores, Target
from fixtures.assistants import Says
from fixtures.tiny import Pixels, TinyData, TraitsData

SIZES = "train=60,validation=2,test=16"
WORLDS = (
    f"scenes:basic,pixels=24,{SIZES}",
    f"scenes:counts,pixels=24,{SIZES}",
    f"scenes:cooccurrence,pixels=24,{SIZES}",
    f"clips:narrated,pixels=16,frames=6,{SIZES},as=pictures",
    f"speech:short,pixels=24,{SIZES}",
    f"clips:sounding,pixels=16,frames=6,{SIZES}",
    f"glosses:graded,{SIZES}",
    "tiny",
)
ROWS = 12
CASES = [(name, asked) for name in TASKS.names() for asked in TASKS.get(name).asks]
each_task = pytest.mark.parametrize(("name", "asked"), CASES, ids=lambda part: str(part))


class Places(Pixels):
    """`Pixels` with embeddings of clips, of sounds and of each quarter of a picture, and words for every sound."""

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        if modality == "video":
            return super().embed("image", inputs.frames[:, 0], head)
        if modality == "audio":
            loudness = torch.nn.functional.adaptive_avg_pool1d(inputs.samples.abs(), len(self._words))
            return torch.nn.functional.normalize(loudness @ self._words, dim=-1)
        return super().embed(modality, inputs, head)

    def transcribe(self, sounds: Any) -> list[str]:
        return ["a red cat" for _ in range(len(sounds))]

    def embed_patches(self, pictures: Tensor, head: str = "default") -> Tensor:
        side = pictures.shape[-1] // 2
        quarters = pictures.unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 1, 4, 5)
        embedded = self.embed("image", quarters.flatten(0, 2).contiguous())
        return embedded.view(len(pictures), 2, 2, -1).permute(0, 3, 1, 2)


class Names(Places):
    """A model that names classes by chance, of whatever of pictures and captions there is."""

    columns: ClassVar = {"image": "image", "text": "text"}
    incomplete: Literal["drop", "use"] = "use"
    shares_space = False

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target: Target | None = target

    def classify(self, inputs: Mapping[str, Any], present: Any = None) -> Tensor:
        assert self.target is not None
        seeds = np.zeros(len(next(iter(present.values()))), dtype=np.int64)
        for column, raw in inputs.items():
            of_raw = [crc32(one.encode() if isinstance(one, str) else one.numpy().tobytes()) for one in raw]
            seeds[present[column]] += np.array(of_raw)
        drawn = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        return torch.stack([torch.rand(len(self.target.classes), generator=g) for g in drawn]).softmax(1)


def guess(prompt: Prompt, word: str = "", seed: int = 0) -> float:
    shown = b"" if prompt.picture is None else prompt.picture.numpy().tobytes()
    return random.Random(f"{prompt.text}{shown!r}{word}{seed}").random()


def model_for(asked: ModelKind, data: Data) -> Embedder | Assistant | Classifier:
    if asked == "classifier":
        classes = {label: of_label.names for label, of_label in data.classes.items()} or {"size": ("s", "l")}
        return Names(Target(*next(iter(classes.items()))))
    if asked == "embedder":
        return Places()
    return Says(lambda prompt, seed: "yes" if guess(prompt, seed=seed) < 0.5 else "a red cat", guess)


@cache
def world(source: str) -> Data:
    return TraitsData() if source == "tiny" else load_any(source)


@cache
def case(name: str, asked: ModelKind) -> tuple[Data, Rows, Scores]:
    """Return data that a task has something to ask about, some rows of it, and the scores of a model on them."""
    reasons = []
    for source in WORLDS:
        data = world(source)
        rows = next(iter(data.splits.test.values()))[:ROWS]
        try:
            return data, rows, scored(name, asked, data, rows)
        except ValueError as reason:
            reasons.append(str(reason))
    raise AssertionError(f"add a world that {name} asks about to WORLDS: {reasons}")


def scored(name: str, asked: ModelKind, data: Data, rows: Rows) -> Scores:
    """Return the scores of a new model by a new task, so that nothing is kept of earlier calls."""
    task: Any = create(name)
    return task(model_for(asked, data), data, rows)


@pytest.mark.parametrize("name", TASKS.names())
def test_a_task_has_the_name_of_its_file_and_says_whom_it_asks(name: str) -> None:
    task = create(name)
    assert isinstance(task, Task)
    assert task.name == name
    assert TASKS.modules[name].endswith(f".{name}")
    assert task.asks
    assert set(task.asks) <= {"embedder", "assistant", "classifier"}
    assert task.modalities or "embedder" not in task.asks


@each_task
def test_main_metrics_exist_and_every_metric_reads_columns_that_exist(name: str, asked: ModelKind) -> None:
    data, _, scores = case(name, asked)
    main = create(name).main_metrics(data)
    assert main
    assert set(main) <= set(scores.metrics)
    assert scores.task == name
    for metric in scores.metrics.values():
        assert set(metric.names) <= set(scores.examples.columns)
        assert metric.chance is None or np.isfinite(metric.chance)


@each_task
def test_examples_have_ids_of_their_own_and_what_does_not_apply_is_null(name: str, asked: ModelKind) -> None:
    examples = case(name, asked)[2].examples
    assert examples.schema["example"] == pl.Int64
    assert examples["example"].is_unique().all()
    assert examples["subset"].null_count() == 0
    numbers = examples.drop("example", "subset")
    assert set(numbers.dtypes) == {pl.Float64}
    for column in numbers:
        assert column.drop_nulls().is_finite().all()


@each_task
def test_numbers_follow_from_the_examples_alone(name: str, asked: ModelKind) -> None:
    """The long table of a run's folder, columns put side by side, gives every number of every subset."""
    results = RunResults({"test": (case(name, asked)[2],)})
    table = results.examples().sample(fraction=1, shuffle=True, seed=0)
    for row in results.scores():
        statistic = STATISTICS[row["statistic"]]
        found = table.filter(pl.col("outcome").is_in(row["columns"]))
        found = found if row["subset"] == "all" else found.filter(subset=row["subset"])
        wide = found.pivot(on="outcome", index="example", values="value").drop_nulls()
        values = wide.select(row["columns"]).to_numpy()
        value = statistic(values if statistic.columns else values[:, 0])
        assert len(values) == row["n"]
        assert value == pytest.approx(row["value"], abs=1e-12)
        assert statistic.least <= value <= statistic.most
        bounds = limits(row["bounds"])
        assert bounds is None or bounds[0] <= value <= bounds[1]


@each_task
def test_metrics_read_as_many_columns_as_their_statistic_takes(name: str, asked: ModelKind) -> None:
    for metric in case(name, asked)[2].metrics.values():
        statistic = STATISTICS[name_of(metric.statistic)]
        assert isinstance(metric.columns, str) != bool(statistic.columns)
        assert statistic.takes((len(metric.columns),) if statistic.columns else ())


@each_task
def test_rows_in_another_order_have_the_same_outcomes(name: str, asked: ModelKind) -> None:
    data, rows, scores = case(name, asked)
    other = scored(name, asked, data, np.random.default_rng(0).permutation(rows))
    assert_frame_equal(
        other.examples.sort("example"),
        scores.examples.sort("example"),
        check_column_order=False,
        abs_tol=1e-5,
    )
    for metric, definition in scores.metrics.items():
        assert other.value(metric) == pytest.approx(scores.value(metric), abs=1e-5, nan_ok=True)
        assert other.metrics[metric].chance == pytest.approx(definition.chance)


@each_task
def test_no_rows_are_refused(name: str, asked: ModelKind) -> None:
    data, rows, _ = case(name, asked)
    with pytest.raises(ValueError, match=f"{name}|{data.name}"):
        scored(name, asked, data, rows[:0])


@each_task
def test_one_row_is_scored_or_refused(name: str, asked: ModelKind) -> None:
    data, rows, scores = case(name, asked)
    one = scored_or_refused(name, asked, data, rows[:1])
    if isinstance(one, Scores):
        assert set(one.examples["example"]) <= set(scores.examples["example"])
        for metric in one.metrics:
            assert np.isnan(one.value(metric)) == (len(one.rows(metric)) == 0)


@each_task
def test_data_without_labels_and_items_are_scored_as_pairs_or_not_applicable(
    name: str, asked: ModelKind
) -> None:
    data, task = TinyData(), create(name)
    data.labels = {}
    found = scored_or_refused(name, asked, data, data.splits.test["concepts"])
    needs = task.labels is not None or task.form is not None
    if asked == "embedder" and needs:
        with pytest.raises(NotApplicableError, match=name):
            check_data(task, data)
    if isinstance(found, Scores):
        assert not needs
        assert len(found.examples)
    else:
        assert isinstance(found, NotApplicableError)


def scored_or_refused(name: str, asked: ModelKind, data: Data, rows: Rows) -> Scores | ValueError:
    """Return the scores of a new model, or the refusal, which names the task or the data."""
    try:
        return scored(name, asked, data, rows)
    except ValueError as reason:
        if name in str(reason) or data.name in str(reason):
            return reason
        raise


@each_task
def test_evaluated_by_name_it_gives_the_same_again_with_its_main_metrics(name: str, asked: ModelKind) -> None:
    data, rows, scores = case(name, asked)
    (again,) = evaluate(model_for(asked, data), data, [name], {"some": rows}).by_test["some"]
    assert_frame_equal(again.examples, scores.examples)
    assert again.main == create(name).main_metrics(data)
    for metric in scores.metrics:
        np.testing.assert_equal(again.value(metric), scores.value(metric))
        assert again.metrics[metric].chance == scores.metrics[metric].chance


@each_task
def test_it_refuses_models_of_the_other_kind(name: str, asked: ModelKind) -> None:
    data, rows, _ = case(name, asked)
    others: set[ModelKind] = {"embedder", "assistant"} - set(create(name).asks)
    for other in others:
        with pytest.raises(ValueError, match=f"{name} is a task for models that"):
            evaluate(model_for(other, data), data, [name], {"some": rows})


def test_hyphens_are_understood() -> None:
    assert "zero-shot" in TASKS
    assert create("zero-shot").name == "zero_shot"


@pytest.mark.parametrize("name", [name for name, asked in CASES if asked == "embedder"])
def test_what_stands_for_a_picture_that_is_missing_is_not_scored(name: str) -> None:
    task = create(name)
    data = world("scenes:spurious,pixels=24,train=96,test=48,missing=image:0.3")
    if task.form is not None:
        return  # items are about pictures of their own
    try:
        scores = task(Places(), data, (rows := next(iter(data.splits.test.values()))))
    except NotApplicableError:
        return
    gone = pl.Series(data.ids[rows[~data.present("image", rows)]])
    assert len(gone)
    for metric in scores.metrics:
        assert not scores.examples["example"].gather(scores.rows(metric)).is_in(gone.implode()).any()
