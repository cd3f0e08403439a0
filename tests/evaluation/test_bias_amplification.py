"""Multi-attribute bias amplification: loops, the hidden combination, and what noise alone amounts to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import UInt8
from torch import Tensor

from counterpoint.data.base import Rows, Splits
from counterpoint.data.labels import Classes
from counterpoint.data.pictured import PairedData
from counterpoint.evaluation import create
from counterpoint.evaluation.bias_amplification import (
    Amplification,
    attribute_sets,
    directional,
    sampling_noise,
    thresholds,
    undirected,
)
from counterpoint.evaluation.task import NotApplicableError
from fixtures.hand_made import number_of, numbered


def one_hot(groups: np.ndarray) -> np.ndarray:
    return np.eye(2, dtype=bool)[groups]


def hidden(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two attributes, each balanced by itself; the group goes with whether they agree (0.8) or not (0.2)."""
    generator = np.random.default_rng(seed)
    attributes = generator.random((n, 2)) < 0.5
    agree = attributes[:, 0] == attributes[:, 1]
    group = (generator.random(n) < np.where(agree, 0.8, 0.2)).astype(int)
    return attributes, one_hot(group)


def test_both_kinds_agree_with_loops() -> None:
    generator = np.random.default_rng(1)
    train, true = ((generator.random((80, 3)) < 0.4, one_hot(generator.integers(2, size=80))) for _ in "ab")
    predicted = generator.random((80, 3)) < 0.4, one_hot(generator.integers(2, size=80))
    sets = attribute_sets(train[0], true[0])
    assert len(sets) > 4
    a = undirected(train, predicted, sets)
    b = directional(train, true, predicted[1], sets, of="groups")
    c = directional(train, true, predicted[0], sets, of="attributes")
    for i, s in enumerate(sets):
        has = [t[0][:, list(s)].all(1) for t in (train, true, predicted)]
        for g in range(2):
            in_train = train[1][has[0], g].mean()
            expected = predicted[1][has[2], g].mean() - in_train if in_train > 0.5 else 0.0
            assert a.signed[i, g] == pytest.approx(expected)
            together = (has[0] & train[1][:, g]).mean() - has[0].mean() * train[1][:, g].mean()
            gap = predicted[1][has[1], g].mean() - true[1][has[1], g].mean()
            assert b.signed[i, g] == pytest.approx(np.sign(together) * gap)
            mine = true[1][:, g]
            gap = has[2][mine].mean() - has[1][mine].mean()
            assert c.signed[i, g] == pytest.approx(np.sign(together) * gap)
    assert a.mean == pytest.approx(np.abs(a.signed).mean())
    assert a.variance == pytest.approx(a.signed.var())


def test_true_labels_as_predictions_amplify_nothing() -> None:
    attributes, groups = hidden(500, 0)
    sets = attribute_sets(attributes, attributes)
    assert directional((attributes, groups), (attributes, groups), groups, sets, of="groups").mean == 0
    assert undirected((attributes, groups), (attributes, groups), sets).mean == 0


def test_combination_that_single_attributes_hide_is_seen_in_sets() -> None:
    train, true = hidden(20_000, 0), hidden(20_000, 1)
    agree = true[0][:, 0] == true[0][:, 1]
    predicted = one_hot(agree.astype(int))  # the best prediction from the attributes
    single = directional(train, true, predicted, ((0,), (1,)), of="groups")
    multiple = directional(train, true, predicted, attribute_sets(train[0], true[0], least=2), of="groups")
    assert multiple.sets == ((0, 1),)
    assert multiple.mean == pytest.approx(0.2, abs=0.02)
    assert abs(single.signed_mean) < 0.02
    for of in ("groups", "attributes"):
        assert sampling_noise(train, true, multiple.sets, of=of).mean < 0.02


def test_signs_do_not_cancel() -> None:
    attributes = np.array([[True, False], [True, False], [False, True], [False, True]])
    true = attributes, one_hot(np.array([0, 1, 0, 1]))
    train = attributes.repeat(2, 0), one_hot(np.array([0, 0, 0, 1, 0, 1, 1, 1]))
    predicted = one_hot(np.array([0, 0, 0, 0]))
    found = directional(train, true, predicted, ((0,), (1,)), of="groups")
    assert (found.mean, found.signed_mean) == (0.5, 0)


def test_sets_that_are_never_predicted_are_skipped_and_counted() -> None:
    attributes, groups = hidden(100, 0)
    nothing = np.zeros_like(attributes)
    found = undirected((attributes, groups), (nothing, groups), ((0,), (1,)))
    assert found.skipped == 4


def test_sets_frequent_in_training_as_and_in_test_with_others() -> None:
    train = np.array([[1, 1, 0]] * 3 + [[1, 0, 0]] * 2 + [[0, 0, 0]] * 5, dtype=bool)
    test = np.array([[1, 1, 1]] * 3, dtype=bool)
    assert attribute_sets(train, test) == ((0,), (0, 1))
    assert attribute_sets(train, test, more_than=2) == ((0, 1),)
    assert attribute_sets(train, test[:2], more_than=2) == ()


def test_thresholds_give_as_many_positives_as_there_are() -> None:
    generator = np.random.default_rng(0)
    true, scores = generator.random((50, 4)) < [0.0, 0.2, 0.7, 1.0], generator.random((50, 4))
    np.testing.assert_array_equal((scores > thresholds(scores, true)).sum(0), true.sum(0))


def test_the_largest_differences_are_told_in_words() -> None:
    found = Amplification(((0,), (0, 1)), np.array([[0.1, np.nan], [-0.4, 0.2]]))
    assert found.largest(["ball", "hat"], ["woman", "man"], most=2).rows() == [
        ("ball + hat", "woman", -0.4),
        ("ball + hat", "man", 0.2),
    ]


class Labelled(PairedData):
    """Two labels that are independent of each other, and a gender that goes with whether they agree."""

    name = "hand-made"

    def __init__(self, n: int = 900, *, gender: bool = True) -> None:
        attributes, groups = hidden(n, 3)
        self.attributes, self.groups = attributes, groups.argmax(1)
        self.ids = np.arange(n)
        self.subsets = np.full(n, "all")
        third = n // 3
        self.splits = Splits(
            np.arange(third), {"v": np.arange(third, 2 * third)}, {"t": np.arange(2 * third, n)}
        )
        self.labels = {
            "size": Classes(("small", "large"), attributes[:, 0].astype(int)),
            "colour": Classes(("red", "blue"), attributes[:, 1].astype(int)),
        }
        if gender:
            self.labels["gender"] = Classes(("woman", "man"), self.groups)

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 SIDE SIDE"]:
        return numbered(rows)

    def captions(self, row: int) -> Sequence[str]:
        return (f"picture {row}",)


class Knows:
    """An embedder of pictures by a table of what it knows of each."""

    heads: tuple[str, ...] = ("global",)
    embeds = ("image",)

    def __init__(self, table: np.ndarray) -> None:
        self.table = torch.tensor(table, dtype=torch.float32)

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        return self.table[torch.from_numpy(number_of(inputs))]

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


TASK = "multi_attribute_bias_amplification"


def test_a_model_that_knows_everything_amplifies_nothing() -> None:
    data = Labelled()
    table = np.column_stack([data.attributes, data.groups, np.ones(len(data))])
    scores = create(TASK)(Knows(table), data, data.splits.test["t"])
    for name in (
        "multi",
        "single",
        "multi_variance",
        "multi_attributes",
        "single_attributes_signed",
        "multi_man",
    ):
        assert scores.value(name) == pytest.approx(0, abs=1e-12), name
    assert 0 < scores.metrics["multi"].chance < 0.1  # what noise alone amounts to
    assert scores.metrics["multi_signed"].chance == 0


def test_model_that_guesses_from_combination_is_caught_by_sets() -> None:
    data = Labelled(3000)
    agree = data.attributes[:, 0] == data.attributes[:, 1]
    scores = create(TASK)(Knows(np.column_stack([agree, ~agree])), data, data.splits.test["t"])
    rows, train = data.splits.test["t"], data.splits.train
    columns = np.concatenate([np.stack([~a, a], 1) for a in data.attributes.T], 1)
    before, after = ((columns[part], one_hot(data.groups[part])) for part in (train, rows))
    guessed = one_hot(agree[rows].astype(int))
    sets = attribute_sets(before[0], after[0], least=2)
    assert len(sets) == 4
    multiple = directional(before, after, guessed, sets, of="groups")
    single = directional(before, after, guessed, tuple((a,) for a in range(4)), of="groups")
    # Every metric is the mean of one component per example.
    assert scores.value("multi") == pytest.approx(multiple.mean)
    assert scores.value("multi_signed") == pytest.approx(multiple.signed_mean)
    assert scores.value("multi_variance") == pytest.approx(multiple.variance)
    assert scores.value("multi_woman") == pytest.approx(np.abs(multiple.signed[:, 0]).mean())
    assert scores.value("single") == pytest.approx(single.mean)
    assert scores.value("multi") > 0.15
    assert scores.value("multi") > 5 * scores.metrics["multi"].chance
    assert scores.value("multi_signed") == pytest.approx(scores.value("multi"))  # all of it amplifies
    assert abs(scores.value("single_signed")) < 0.05
    assert not scores.metrics["multi"].higher_is_better
    assert len(scores.examples) == len(rows)


def test_the_task_says_what_it_lacks() -> None:
    model = Knows(np.ones((90, 2)))
    with pytest.raises(NotApplicableError, match="one of the labels gender, tone, background"):
        create(TASK)(model, Labelled(90, gender=False), np.arange(60, 90))
    data = Labelled(90)
    only = Labelled(90)
    only.labels = {"gender": only.labels["gender"]}
    with pytest.raises(NotApplicableError, match="needs labels besides 'gender'"):
        create(TASK)(model, only, np.arange(60, 90))
    women = np.flatnonzero(data.groups[60:] == 0) + 60
    with pytest.raises(ValueError, match="the test rows of 'hand-made' show one gender only"):
        create(TASK)(model, data, women)
    with pytest.raises(ValueError, match="shown by more than 50 training and test rows"):
        create(TASK, more_than=50)(model, data, np.arange(60, 90))


def test_without_sets_the_multiple_metrics_are_undefined() -> None:
    data = Labelled()
    del data.labels["colour"]
    scores = create(TASK)(Knows(np.column_stack([data.attributes, data.groups])), data, data.splits.test["t"])
    assert np.isnan(scores.value("multi"))
    assert scores.value("single") == pytest.approx(0, abs=1e-12)


def test_bad_tables_are_refused() -> None:
    attributes, groups = hidden(10, 0)
    with pytest.raises(ValueError, match="a column for each of two groups at least"):
        undirected((attributes, groups[:, :1]), (attributes, groups), ((0,),))
    with pytest.raises(ValueError, match="of must be 'groups' or 'attributes', got 'both'"):
        directional((attributes, groups), (attributes, groups), groups, ((0,),), of="both")
    with pytest.raises(ValueError, match=r"predicted groups are \(3, 2\)"):
        directional((attributes, groups), (attributes, groups), groups[:3], ((0,),), of="groups")
