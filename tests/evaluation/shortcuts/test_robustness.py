"""Accuracy where a shortcut holds and misleads, and the trend of a family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from torch import Tensor

from counterpoint.data import load
from counterpoint.data.base import Rows, Splits
from counterpoint.data.labels import Classes
from counterpoint.data.pictured import PairedData
from counterpoint.evaluation import create, evaluate
from counterpoint.evaluation.inspection import breakdown
from counterpoint.evaluation.robustness import Trend
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks.mmcl_robustness import MMCLRobustness, usual_values
from counterpoint.types import Scores
from fixtures.hand_made import Blind, SimilarityTable, numbered
from fixtures.tiny import Pixels, TinyData

NAMES = ("cat", "dog", "cow", "pig")
PLACES = ("meadow", "beach")
CLASSES = [0, 1, 2, 3]
TRAINED = [0, 1, 0, 1]
"""The place of each class in training: cat and cow on the meadow, dog and pig on the beach."""


class Places(PairedData):
    """Four training rows, then tests: every class on both places."""

    name = "places"

    def __init__(self) -> None:
        classes = np.array(CLASSES + CLASSES * 2)
        places = np.array(TRAINED + [0] * 4 + [1] * 4)
        self.ids = 10 * np.arange(12)
        self.subsets = np.array(["all"] * 12)
        self.labels = {"concept": Classes(NAMES, classes), "background": Classes(PLACES, places)}
        self.splits = Splits(np.arange(4), {}, {"all": np.arange(4, 12)})

    def images(self, rows: Rows) -> Tensor:
        return numbered(rows)

    def captions(self, row: int) -> Sequence[str]:
        return ("a beast",)


def score(likes: dict[tuple[int, int], list[float]], data: PairedData | None = None) -> Scores:
    """Scores of a model with these similarities of the four names, by class and place of a picture."""
    data = data or Places()
    classes, places = (data.labels[name].values for name in ("concept", "background"))
    table = {
        name: torch.tensor([likes[int(c), int(p)][k] for c, p in zip(classes, places, strict=True)])
        for k, name in enumerate(NAMES)
    }
    return MMCLRobustness()(SimilarityTable(table), data, data.splits.test["all"])


def one_hot(k: int) -> list[float]:
    return [float(i == k) for i in range(4)]


def test_a_model_of_things_is_right_everywhere() -> None:
    found = score({(c, p): one_hot(c) for c in range(4) for p in range(2)})
    assert [found.value(m) for m in ("top1", "aligned", "conflicting", "balanced")] == [1, 1, 1, 1]
    assert found.value("misled") == 0
    assert (found.examples["margin"] > 0).all()


def test_model_places_right_where_shortcut_holds_misled() -> None:
    """On the meadow it says cat or cow, a toss between both."""
    found = score({(c, p): [float(TRAINED[k] == p) for k in range(4)] for c in range(4) for p in range(2)})
    assert [found.value(m) for m in ("top1", "aligned", "conflicting", "balanced")] == [0.25, 0.5, 0, 0.25]
    assert found.value("misled") == 1
    assert found.metrics["misled"].chance == 0.5
    assert not found.metrics["misled"].higher_is_better


def test_error_that_does_not_follow_the_shortcut_is_not_misled() -> None:
    """Classes whose place is the same are mistaken for each other: wrong, but not by the place that is shown."""
    found = score({(c, p): one_hot((c + 2) % 4) for c in range(4) for p in range(2)})
    assert [found.value(m) for m in ("top1", "misled")] == [0, 0]


def test_a_blind_model_scores_chance_in_every_metric() -> None:
    data = Places()
    found = MMCLRobustness()(Blind(), data, data.splits.test["all"])
    for name, metric in found.metrics.items():
        assert found.value(name) == pytest.approx(metric.chance), name


def test_parts_are_the_subsets_and_balance_weighs_them_alike() -> None:
    data = Places()
    data.splits = Splits(
        np.arange(4), {}, {"all": np.array([4, 6, 9, 5])}
    )  # three aligned, dog on the meadow
    found = score({(c, p): one_hot(c if TRAINED[c] == p else 0) for c in range(4) for p in range(2)}, data)
    assert (found.value("top1"), found.value("balanced")) == (0.75, 0.5)
    assert breakdown(found)["subset"].to_list() == ["all", "aligned", "conflicting", "chance"]
    assert found.examples["example"].to_list() == [40, 60, 90, 50]


def test_usual_values_are_the_most_frequent_of_training() -> None:
    classes, values = np.array([0, 0, 1, 1, 2, -1, 3]), np.array([1, 1, 2, 0, -1, 1, 2])
    assert usual_values(classes, values, 5).tolist() == [1, 0, -1, 2, -1]


def test_rows_of_a_class_unknown_to_training_have_no_outcome() -> None:
    data = Places()
    data.splits = Splits(np.arange(3), {}, {"all": np.arange(4, 12)})
    found = score({(c, p): one_hot(c) for c in range(4) for p in range(2)}, data)
    assert len(found.examples) == 6
    data.splits = Splits(np.arange(0), {}, {"all": np.arange(4, 12)})
    with pytest.raises(ValueError, match="that training rows have too"):
        score({(c, p): one_hot(c) for c in range(4) for p in range(2)}, data)


def test_the_data_must_have_both_labels(tiny_data: TinyData) -> None:
    with pytest.raises(NotApplicableError, match="needs the label 'background'"):
        create("mmcl_robustness", label="group")(Pixels(), tiny_data, np.arange(70))


def test_biased_scenes_give_both_parts() -> None:
    world = load("scenes:spurious,train=300,validation=8,test=60")
    results = evaluate(Pixels(), world, tasks=["mmcl_robustness"])
    by_test = {test: scores[0].examples for test, scores in results.by_test.items()}
    shares = {test: (rows["subset"] == "conflicting").mean() for test, rows in by_test.items()}
    assert shares["opposed"] > 0.9
    assert shares["as trained"] < 0.3
    assert shares["opposed"] > shares["independent"] > shares["as trained"]


def test_the_trend_of_models_on_a_line_of_logits_is_that_line() -> None:
    given = np.array([0.3, 0.55, 0.8, 0.95])
    shifted = expit(0.8 * logit(given) - 0.4)
    trend = Trend.fit(given, shifted)
    assert (trend.slope, trend.intercept) == (pytest.approx(0.8), pytest.approx(-0.4))
    np.testing.assert_allclose(trend.effective_robustness(given, shifted), 0, atol=1e-12)
    assert float(trend.effective_robustness(0.8, 0.9)) == pytest.approx(0.9 - shifted[2])
    assert float(trend.effective_robustness(0.8, 0.1)) < 0


def test_a_better_model_of_the_family_is_not_effectively_robust() -> None:
    """More accurate under shift, but no more than its accuracy without it lets one expect."""
    family = Trend.fit(np.array([0.5, 0.6, 0.7]), np.array([0.3, 0.4, 0.5]))
    better = 0.9, float(family.expected(0.9))
    assert better[1] > 0.5
    assert float(family.effective_robustness(*better)) == pytest.approx(0)


def test_accuracies_without_a_logit_are_refused() -> None:
    with pytest.raises(ValueError, match="hits \\+ 1/2"):
        Trend.fit(np.array([0.5, 1.0]), np.array([0.4, 0.9]))
    with pytest.raises(ValueError, match="hits \\+ 1/2"):
        Trend(1.0, 0.0).expected(0.0)
    with pytest.raises(ValueError, match="two models of different accuracy"):
        Trend.fit(np.array([0.5, 0.5]), np.array([0.4, 0.9]))
