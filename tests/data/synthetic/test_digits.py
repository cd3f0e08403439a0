from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from counterpoint.data.source import load
from counterpoint.data.synthetic.digits.world import Digits, skew


def test_pictures_and_digits_are_scikit_learns() -> None:
    data, found = load("digits"), load_digits()
    assert isinstance(data, Digits)
    pictures = data.images(np.arange(len(data))).numpy()
    assert pictures.shape == (1797, 3, 8, 8)
    assert np.array_equal(pictures[:, 0], np.rint(found.images / 16 * 255))
    assert (pictures == pictures[:, :1]).all()
    assert np.array_equal(data.labels["digit"].values, found.target)


def test_sentence_names_labels_say_and_nothing_is_in_two_splits() -> None:
    data = Digits()
    for row in (0, 5, 1796):
        words = [labels.names[labels.values[row]] for labels in data.labels.values()]
        assert all(word in data.captions(row)[0] for word in words)
    parts = [data.splits.train, *data.splits.validation.values(), *data.splits.test.values()]
    assert sorted(np.concatenate(parts)) == list(range(len(data)))
    assert len({data.captions(row)[0] for row in range(len(data))}) == 84


@pytest.mark.parametrize("slope", [-1.0, 0.0, 1.0])
def test_the_skew_of_a_line_is_its_slope(slope: float) -> None:
    picture = np.zeros((1, 8, 8))
    for up in range(-2, 3):
        picture[0, 4 - up, round(4 + slope * up)] = 1
    assert skew(picture) == pytest.approx([slope])


def test_stream_has_two_digits_a_task_and_scores_the_first_apart() -> None:
    data = load("digits:stream")
    classes = data.labels["digit"].values
    assert [set(classes[rows]) for rows in data.splits.tasks] == [{0, 1}, {2, 3}, {4, 5}, {6, 7}, {8, 9}]
    assert sorted(np.concatenate(data.splits.tasks)) == sorted(data.splits.train)
    assert set(classes[data.subsets == "first task"]) == {0, 1}
    with pytest.raises(ValueError, match="write digits or digits:stream"):
        load("digits:streams")
