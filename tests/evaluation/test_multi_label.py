from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score
from sklearn.preprocessing import MinMaxScaler

from counterpoint.data.labels import Tags
from counterpoint.evaluation import create, evaluate
from counterpoint.evaluation.classifiers import tag_probabilities
from counterpoint.evaluation.multilabel import ranking_precision
from counterpoint.evaluation.task import NotApplicableError, check_data
from counterpoint.types import Target
from fixtures.tiny import Pixels, TinyData, TraitsData


def test_ranking_precision_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    scores, targets = (
        torch.from_numpy(rng.random((30, 6)).round(1)),
        torch.from_numpy(rng.random((30, 6)) < 0.4),
    )
    targets[:, 0] |= ~targets.any(1)
    found = ranking_precision(scores, targets)
    assert found.mean() == pytest.approx(label_ranking_average_precision_score(targets, scores))
    assert np.isnan(ranking_precision(scores, torch.zeros_like(targets))).all()


def test_tags_learned_each_by_itself_from_rows_of_they_are_known() -> None:
    rng = np.random.default_rng(0)
    x, tags = rng.normal(size=(80, 4)), rng.integers(-1, 2, (80, 5))
    tags[:, 3], tags[:, 4] = np.where(tags[:, 3] > 0, 0, tags[:, 3]), -1  # one that nobody has, one not known
    found = tag_probabilities(x, tags)(x)
    scaled = MinMaxScaler().fit_transform(x)
    for k in range(3):
        known = tags[:, k] >= 0
        expected = LogisticRegression().fit(scaled[known], tags[known, k]).predict_proba(scaled)[:, 1]
        np.testing.assert_allclose(found[:, k], expected)
    assert (found[:, 3] == 0).all()
    assert (found[:, 4] == 0.5).all()


def test_the_probe_and_the_models_own_answer() -> None:
    data = TraitsData()
    tags: Any = data.labels["traits"]

    class Knows(Pixels):
        """A model that learned the tags by heart."""

        target = Target("traits", tags.names, "tags")
        columns = {"image": "image"}  # noqa: RUF012 # read alone
        incomplete = "drop"
        shares_space = True

        def classify(self, inputs: Any, present: Any = None) -> torch.Tensor:
            own = {picture.numpy().tobytes(): row for row, picture in enumerate(data.images(np.arange(70)))}
            rows = [own[picture.numpy().tobytes()] for picture in inputs["image"]]
            return torch.from_numpy((tags.values[rows] != 0) * 0.6 + 0.2)

    rows = np.arange(70)
    (scores,) = evaluate(Knows(), data, ["multi_label"], {"all": rows}).by_test["all"]
    assert scores.main == ("logistic_traits_mAP",)
    for metric in ("mAP", "CF1", "OF1", "R-precision", "LRAP"):
        assert scores.value(f"own_traits_{metric}") == 1
    assert scores.value("own_traits_P@1") == 1
    # Shape, colour and size are true; of every seventh row only two are known to be.
    assert scores.value("own_traits_P@3") == pytest.approx((60 * 3 + 10 * 2) / 70 / 3)
    large = scores.examples["traits: large"].to_numpy()
    assert (large == -1).sum() == 10
    columns = [[f"{side}: {tag}" for tag in tags.names] for side in ("traits", "logistic_traits")]
    true, given = (scores.examples.select(names).to_numpy() for names in columns)
    expected = [
        average_precision_score(true[true[:, k] >= 0, k], given[true[:, k] >= 0, k])
        for k in range(true.shape[1])
    ]
    assert scores.value("logistic_traits_mAP") == pytest.approx(np.mean(expected))
    likeliest = np.where(true >= 0, -given, np.inf).argsort(1).argsort(1)
    counts = (true == 1).sum(1)
    found = ((true == 1) & (likeliest < counts[:, None])).sum(1) / counts
    assert scores.value("logistic_traits_R-precision") == pytest.approx(found.mean())
    assert 0 < scores.constant("logistic_traits_mAP") < scores.value("logistic_traits_mAP")  # type: ignore[operator]
    shots = {name for name in scores.metrics if name.startswith("logistic_traits_mAP_")}
    # Nothing has 20 training rows but the sizes and common shapes.
    assert {"logistic_traits_mAP_few", "logistic_traits_mAP_medium"} <= shots


def test_tag_is_not_known_is_not_held_against_constant_answer() -> None:
    rng = np.random.default_rng(0)
    values = (rng.random((70, 6)) < [0.9, 0.7, 0.5, 0.3, 0.2, 0.1]).astype(np.int8)
    data, rows = TraitsData(), np.arange(70)
    data.labels = {"traits": Tags(tuple("abcdef"), values)}
    whole = create("multi_label")(Pixels(), data, rows)
    shares = np.sort(values.mean(0))[::-1]
    for k in (1, 3, 5):
        assert whole.constant(f"logistic_traits_P@{k}") == pytest.approx(shares[:k].mean())
    # Of every other row one tag is not known: the answer names the commonest of the others.
    partly = values.copy()
    partly[::2, 0] = -1
    data.labels = {"traits": Tags(tuple("abcdef"), partly)}
    scores = create("multi_label")(Pixels(), data, rows)
    expected = np.mean([values[row, 1 if row % 2 == 0 else 0] for row in rows])
    assert scores.constant("logistic_traits_P@1") == pytest.approx(expected)


def test_label_of_another_kind_and_tags_no_row_has_are_refused() -> None:
    data = TraitsData()
    with pytest.raises(
        NotApplicableError, match=r"labels that are tags, and 'tiny' has group, subgroup, tone, gender"
    ):
        check_data(create("multi_label"), TinyData())
    with pytest.raises(
        NotApplicableError, match=r"tags look, and 'tiny' has .*traits \(tags\), area \(numbers\)"
    ):
        create("multi_label", labels=("look",))(Pixels(), data, np.arange(9))
    values = np.zeros((70, 2), dtype=np.int8)
    values[3, 1] = 1
    data.labels = {"traits": Tags(("a", "b"), values)}
    with pytest.raises(
        NotApplicableError, match="tags traits, and no row of this test set of 'tiny' has one"
    ):
        create("multi_label")(Pixels(), data, np.arange(10, 20))
