from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from counterpoint.data import Classes, Splits
from counterpoint.evaluation import create
from counterpoint.evaluation.classifiers import (
    Classifier,
    knn,
    logistic,
    naive_bayes,
)
from counterpoint.evaluation.results import applicable
from fixtures.tiny import Oracle, Pixels, TinyData


def oracle(data: TinyData, seed: int = 0) -> Oracle:
    images = torch.randn(len(data), 8, generator=torch.Generator().manual_seed(seed))
    return Oracle(data, F.normalize(images, dim=-1), {})


def test_it_learns_from_training_rows_and_keeps_every_outcome(tiny_data: TinyData) -> None:
    model = oracle(tiny_data)
    rows = tiny_data.splits.test["compositions"]
    scores = create("probe")(model, tiny_data, rows)
    train, truth = tiny_data.splits.train, tiny_data.labels["group"].values
    x = model._answers["global"][0].numpy()
    for name, classify in (("logistic", logistic), ("naive_bayes", naive_bayes), ("knn", knn)):
        expected = classify(x[train], truth[train], x[rows], 2) == truth[rows]
        assert scores.examples[f"{name}_group_top1"].to_list() == expected.tolist()
    assert model.seen == {("image", "global"): len(train) + len(rows)}
    assert scores.examples["knn_tone_top1"].null_count() == np.sum(tiny_data.labels["tone"].values[rows] < 0)
    assert scores.metrics["logistic_tone_top1"].chance == 1 / 4


def test_the_training_subsample_is_fixed_and_within_its_limit(tiny_data: TinyData) -> None:
    rows = tiny_data.splits.test["concepts"]
    asked = []
    for seed in (0, 1):
        model = oracle(tiny_data, seed)
        create("probe", labels=("group",), limit=12)(model, tiny_data, rows)
        asked.append(model.seen["image", "global"])
    # Of either class 20 rows, or all that there are: more than the limit, and the rows within the limit among them.
    counts = np.bincount(tiny_data.labels["group"].values[tiny_data.splits.train])
    assert asked == [np.minimum(counts, 20).sum() + len(rows)] * 2


def test_every_head_is_asked_and_rare_classes_are_told_apart() -> None:
    data = TinyData()
    # Of the 30 training rows one class has most, one some and one a single one; a class is in no training row.
    values, train = np.zeros(70, dtype=int), data.splits.train
    values[40:50], values[60:64] = 1, 3
    values[train[:12]], values[train[12]] = 1, 2
    data.labels = {"kind": Classes(("most", "some", "one", "none"), values)}
    images = F.normalize(torch.eye(4)[values] + 0.3 * torch.randn(70, 4), dim=1)
    model = Oracle(data, images, {}, ("global", "local"), {"local": (images.flip(1), {})})
    rows = np.arange(70)
    scores = create("probe", limit=10)(model, data, rows)
    hits = scores.examples["logistic_kind_top1"].to_numpy()
    for part, classes in {"few": [2], "medium": [1], "many": [0], "on_none": [3], "on_some": [1]}.items():
        for suffix in ("", "[local]"):
            of = scores.examples[f"logistic_kind_top1{suffix}"].to_numpy()[np.isin(values, classes)]
            assert scores.value(f"logistic_kind_{part}{suffix}") == pytest.approx(of.mean())
    assert scores.value("logistic_kind_on_none") == 0
    means = [hits[values == k].mean() for k in range(4)]
    assert scores.value("logistic_kind_mean_per_class") == pytest.approx(np.mean(means))
    assert scores.value("knn_kind_top1[local]") == scores.value("knn_kind_top1")


def test_knn_equals_loops_where_all_cosines_are_negative() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(60, 5)) * 0.4 + np.array([3, 0, 0, 0, 0])
    test = rng.normal(size=(15, 5)) * 0.4 - np.array([3, 0, 0, 0, 0])
    y = rng.integers(0, 4, 60)
    expected = []
    for row in test:
        cosines = [row @ t / np.linalg.norm(row) / np.linalg.norm(t) for t in train]
        assert max(cosines) < 0
        votes = [0.0] * 4
        for i in sorted(range(60), key=lambda i: -cosines[i])[:20]:
            votes[y[i]] += math.exp(cosines[i] / 0.07)
        expected.append(int(np.argmax(votes)))
    assert knn(train, y, test, 4).tolist() == expected
    assert len(set(expected)) > 1


def test_logistic_scales_by_the_training_rows_alone() -> None:
    rng = np.random.default_rng(1)
    train, y = rng.normal(size=(80, 4)) * [1, 10, 0.1, 3], rng.integers(0, 3, 80)
    test = 2 * rng.normal(size=(40, 4)) * [1, 10, 0.1, 3]
    low, high = train.min(0), train.max(0)
    expected = LogisticRegression(C=1.0, max_iter=1000).fit((train - low) / (high - low), y)
    assert logistic(train, y, test, 3).tolist() == expected.predict((test - low) / (high - low)).tolist()


@pytest.mark.parametrize("classify", [logistic, naive_bayes, knn])
def test_far_test_row_does_not_change_what_others_are_taken_for(classify: Classifier) -> None:
    rng = np.random.default_rng(2)
    # A weak first direction and a strong second: scaled by a far row, the second would hardly count any more.
    y = rng.integers(0, 3, 120)
    train = rng.normal(size=(120, 4)) + np.stack([0.2 * y, 2.0 * y, 0 * y, 0 * y], 1)
    asked = np.arange(60) % 3
    test = rng.normal(size=(60, 4)) + np.stack([0.2 * asked, 2.0 * asked, 0 * asked, 0 * asked], 1)
    far = np.concatenate([test, [[1.0, 1e7, 1.0, 1.0]]])
    assert classify(train, y, far, 3)[:60].tolist() == classify(train, y, test, 3).tolist()


@pytest.mark.parametrize("classify", [logistic, naive_bayes, knn])
@pytest.mark.filterwarnings("error")
def test_many_classes_of_few_rows_are_classes(classify: Classifier) -> None:
    train = np.random.default_rng(0).normal(size=(30, 4))
    assert classify(train, np.arange(30) % 20, train, 20).shape == (30,)


def test_one_class_in_training_undefined_and_absent_label_error(tiny_data: TinyData) -> None:
    data = TinyData()
    data.labels = {"group": Classes(("a", "b"), np.zeros(70, dtype=int))}
    scores = create("probe")(Pixels(), data, np.arange(5))
    assert all(math.isnan(scores.value(name)) for name in scores.metrics)
    with pytest.raises(ValueError, match="labels hair, and 'tiny' has group, subgroup, tone, gender"):
        create("probe", labels=("hair",))(Pixels(), tiny_data, np.arange(5))


def test_an_empty_training_split_is_an_error() -> None:
    data = TinyData()
    data.splits = Splits(np.array([], dtype=int), {}, {"all": np.arange(5)})
    with pytest.raises(ValueError, match="training split of 'tiny', which is empty"):
        create("probe")(Pixels(), data, np.arange(5))
    assert applicable(data, ["retrieval", "probe"]) == ("retrieval",)


def test_label_whose_tested_classes_never_trained_on_comes_last() -> None:
    """Patients, of whom each lies on one side, stand in every row, and the diagnosis does not."""
    data = TinyData()
    patient = np.arange(len(data)) % 2
    patient[data.splits.train] = 2
    diagnosis = np.arange(len(data)) % 2
    diagnosis[::9] = -1
    data.labels = {
        "patient": Classes(("p", "q", "r"), patient, ("{}",)),
        "sickness": Classes(("ill", "well"), diagnosis, ("{}",)),
    }
    assert create("probe").main_metrics(data)[0] == "logistic_sickness_top1"
