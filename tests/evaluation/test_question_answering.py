"""Questions answered from frozen features: what needs the picture, what does not, calibration, answers never seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.data.base import Splits
from counterpoint.data.items import Question, Questions
from counterpoint.data.pictured import PairedData
from counterpoint.evaluation import applicable, breakdown, evaluate
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks.question_answering import (
    Bag,
    QuestionAnswering,
    answer,
)

COLOURS = ("red", "green", "blue")


class Asked(Questions):
    """About each row's picture, its colour; and of another kind whether it is what it is."""

    def __init__(self, data: Coloured, rows: np.ndarray, answers: Sequence[str] | None = None) -> None:
        self.data, self.rows = data, np.repeat(rows, 2)
        self.ids = self.rows * 2 + np.tile([0, 1], len(rows))
        self.kinds = ["colour", "plain"] * len(rows)
        self.questions = [
            asked
            for row in rows
            for asked in (
                Question(
                    "colour", "What colour is it?", answers[row] if answers else COLOURS[row % 3], COLOURS
                ),
                Question("plain", "Is it so or not?", "so", ("so", "not")),
            )
        ]

    def pictures(self, positions: Any) -> Tensor:
        return self.data.images(self.rows[positions])


class Coloured(PairedData):
    """Pictures of one colour."""

    name, labels = "coloured", {}

    def __init__(self, count: int = 240, answers: Sequence[str] | None = None) -> None:
        self.ids, self.subsets = np.arange(count), np.array(["all"] * count)
        self.splits = Splits(np.arange(count // 2), {}, {"test": np.arange(count // 2, count)})
        self.answers = answers

    def images(self, rows: np.ndarray) -> Tensor:
        pictures = torch.zeros(len(rows), 3, 4, 4, dtype=torch.uint8)
        pictures[torch.arange(len(rows)), torch.from_numpy(rows % 3)] = 200
        return pictures

    def captions(self, row: int) -> Sequence[str]:
        return ["a picture"]

    def items(self, form: Any, rows: np.ndarray, kinds: Any = None) -> Any:
        return Asked(self, rows, self.answers) if form is Questions else super().items(form, rows)


class Sees:
    """An embedder of pictures alone: its colour, or nothing."""

    heads = ("global",)
    embeds = ("image",)

    def __init__(self, blind: bool = False) -> None:
        self.blind = blind

    def embed(self, modality: str, inputs: Tensor, head: str = "default") -> Tensor:
        assert modality == "image"
        seen = torch.zeros(len(inputs), 3) if self.blind else inputs.float().mean((2, 3)) / 200
        return torch.nn.functional.normalize(seen + 0.1, dim=-1)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


@pytest.mark.parametrize("blind", [False, True])
def test_what_needs_the_picture_is_answered_by_who_sees_it(blind: bool) -> None:
    data = Coloured()
    scores = QuestionAnswering()(Sees(blind), data, data.splits.test["test"])
    assert scores.value("accuracy", "plain") == scores.value("question_only", "plain") == 1.0
    assert scores.value("question_only", "colour") == pytest.approx(1 / 3, abs=0.02)
    assert scores.value("accuracy", "colour") == pytest.approx(1 / 3 if blind else 1.0, abs=0.02)
    assert scores.value("gain") == pytest.approx(scores.value("accuracy") - scores.value("question_only"))
    assert scores.metrics["accuracy"].chance == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert scores.value("calibration_error") < 0.1
    assert set(breakdown(scores)["subset"]) == {"all", "colour", "plain", "chance"}


def test_questions_about_rows_without_picture_count_for_nothing() -> None:
    class Gaps(Coloured):
        def present(self, column: str, rows: np.ndarray) -> np.ndarray:
            return (rows % 2 == 0) | (column != "image")

    data, kept = Gaps(60), Coloured(60)
    rows = data.splits.test["test"]
    kept.splits = Splits(data.splits.train[::2], {}, {"test": rows[::2]})
    alone = QuestionAnswering()(Sees(), kept, rows[::2]).examples
    assert QuestionAnswering()(Sees(), data, rows).examples.equals(alone)


def test_same_call_gives_same_head_inference_mode_does_not() -> None:
    data = Coloured(60)
    task = QuestionAnswering()
    one = task(Sees(), data, data.splits.test["test"]).examples
    with torch.inference_mode():
        again = evaluate(Sees(), data, ["question_answering"]).by_test["test"][0].examples
    assert one.equals(again)


def test_an_answer_that_training_never_gives_is_wrong() -> None:
    answers = ["red" if row < 30 and row % 2 else "green" if row < 30 else "blue" for row in range(60)]
    data = Coloured(60, answers)
    scores = QuestionAnswering()(Sees(), data, data.splits.test["test"])
    assert scores.value("accuracy", "colour") == 0.0
    nothing = answer(torch.zeros(2), Question("", "", "red", COLOURS), ("so", "not"))
    assert nothing.right is False
    assert nothing.confidence == pytest.approx(1 / 3)


def test_a_free_answer_competes_with_all() -> None:
    logits, known = torch.tensor([0.0, 3.0, 1.0]), ("a", "b", "c")
    assert answer(logits, Question("", "", "b"), known).right
    assert not answer(logits, Question("", "", "c"), known).right
    assert answer(logits, Question("", "", "c", ("a", "c")), known).right


def test_the_order_of_neighbouring_words_is_seen() -> None:
    bag = Bag(["Is the cat above the dog?", "Is the dog above the cat?"])
    one, other = bag(["Is the cat above the dog?", "Is the dog above the cat?"])
    assert one.norm() == pytest.approx(1.0)
    assert not torch.allclose(one, other)
    assert bag(["nothing known"]).abs().sum() == 0


def test_data_that_cannot_be_asked_is_refused() -> None:
    class Mute(Coloured):
        def items(self, form: Any, rows: np.ndarray, kinds: Any = None) -> Any:
            raise LookupError("'mute' has no questions")

    data = Mute(12)
    with pytest.raises(NotApplicableError, match="question_answering asks about questions"):
        QuestionAnswering()(Sees(), data, data.splits.test["test"])
    assert applicable(data, ("question_answering", "retrieval")) == ("retrieval",)
    assert applicable(Coloured(12), ("question_answering",)) == ("question_answering",)
    one = Coloured(12, ["so"] * 12)
    with pytest.raises(ValueError, match="have one answer, 'so'"):
        QuestionAnswering()(Sees(), one, one.splits.test["test"])
    none = Coloured(12)
    none.splits = Splits(np.arange(0), {}, {"test": np.arange(6)})
    with pytest.raises(ValueError, match="learns from the training split"):
        QuestionAnswering()(Sees(), none, np.arange(6))
