"""Multi-attribute bias amplification: loops, the hidden combination, and what noise alone amounts to."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoint.evaluation.bias_amplification import (
    attribute_sets,
    calibrated,
    directional,
    sampling_noise,
    undirected,
)


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


def test_a_combination_that_single_attributes_hide_is_seen_in_sets() -> None:
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


def test_sets_are_frequent_in_training_as_they_are_and_in_test_with_others() -> None:
    train = np.array([[1, 1, 0]] * 3 + [[1, 0, 0]] * 2 + [[0, 0, 0]] * 5, dtype=bool)
    test = np.array([[1, 1, 1]] * 3, dtype=bool)
    assert attribute_sets(train, test) == ((0,), (0, 1))
    assert attribute_sets(train, test, more_than=2) == ((0, 1),)
    assert attribute_sets(train, test[:2], more_than=2) == ()


def test_thresholds_give_as_many_positives_as_there_are() -> None:
    generator = np.random.default_rng(0)
    true, scores = generator.random((50, 4)) < [0.0, 0.2, 0.7, 1.0], generator.random((50, 4))
    np.testing.assert_array_equal(calibrated(scores, true).sum(0), true.sum(0))


def test_bad_tables_are_refused() -> None:
    attributes, groups = hidden(10, 0)
    with pytest.raises(ValueError, match="a column for each of two groups at least"):
        undirected((attributes, groups[:, :1]), (attributes, groups), ((0,),))
    with pytest.raises(ValueError, match="of must be 'groups' or 'attributes', got 'both'"):
        directional((attributes, groups), (attributes, groups), groups, ((0,),), of="both")
    with pytest.raises(ValueError, match=r"predicted groups are \(3, 2\)"):
        directional((attributes, groups), (attributes, groups), groups[:3], ((0,),), of="groups")
