"""The modality importance score: the paper's table, types, and the guessing null."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from counterpoint.evaluation.modality_importance import (
    guessing,
    modality_importance,
    question_types,
)

V, T, S = frozenset({"video"}), frozenset({"text"}), frozenset({"sound"})
# a_V, a_T, a_VT -> MIS of video, MIS of text, type
TABLE = {
    (0, 0, 0): (0, 0, "agnostic, incorrect"),
    (0, 1, 0): (-1, 0, "text-biased"),
    (1, 0, 0): (0, -1, "video-biased"),
    (1, 1, 0): (-1, -1, "none"),
    (0, 0, 1): (1, 1, "complementary"),
    (0, 1, 1): (0, 1, "text-biased"),
    (1, 0, 1): (1, 0, "video-biased"),
    (1, 1, 1): (0, 0, "agnostic, correct"),
}


@pytest.mark.parametrize("row", TABLE)
def test_two_modalities_are_the_papers_table(row: tuple[int, int, int]) -> None:
    answers = {s: np.array([float(a)]) for s, a in zip((V, T, V | T), row, strict=True)}
    scores = modality_importance(answers)
    assert (scores["video"][0], scores["text"][0], question_types(answers)[0]) == TABLE[row]


def test_three_modalities_leave_the_modality_alone_out() -> None:
    """The set of one modality is in neither mean of its own score."""
    sets = [V, T, S, V | T, V | S, T | S, V | T | S]
    generator = np.random.default_rng(0)
    answers = {s: generator.random(20) for s in sets}
    scores = modality_importance(answers)
    expected = (answers[V | T] + answers[V | S] + answers[V | T | S]) / 3
    expected = expected - (answers[T] + answers[S] + answers[T | S]) / 3
    np.testing.assert_allclose(scores["video"], expected)


def test_a_tolerance_makes_small_differences_nothing() -> None:
    answers = {V: np.array([0.98]), T: np.array([0.97]), V | T: np.array([0.99])}
    assert question_types(answers)[0] == "complementary"
    assert question_types(answers, tolerance=0.05)[0] == "agnostic, correct"


def test_types_of_guesses_those_of_every_pattern_by_probability() -> None:
    found = guessing({"video", "text"}, 5)
    assert sum(found.values()) == pytest.approx(1)
    expected = 0.0
    for pattern in product((0, 1), repeat=3):
        if TABLE[pattern][2] == "text-biased":
            expected += 0.2 ** sum(pattern) * 0.8 ** (3 - sum(pattern))
    assert found["text-biased"] == pytest.approx(expected)
    assert found["complementary"] == pytest.approx(0.8 * 0.8 * 0.2)


def test_bad_answers_are_refused() -> None:
    one = np.ones(2)
    with pytest.raises(ValueError, match=r"answers are missing for text \+ video"):
        modality_importance({V: one, T: one})
    with pytest.raises(ValueError, match="two at least, got"):
        modality_importance({V: one})
    with pytest.raises(ValueError, match="the same questions"):
        modality_importance({V: one, T: one, V | T: np.ones(3)})
    with pytest.raises(ValueError, match="among two options at least"):
        guessing({"video", "text"}, 1)
