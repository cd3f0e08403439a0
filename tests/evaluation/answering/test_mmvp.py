"""MMVP's questions: who looks, who does not; pairs of captions as questions; the published layout."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.data import load
from counterpoint.data.items import TwinQuestions
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.evaluation import create, evaluate
from counterpoint.evaluation.tasks.mmvp import WHICH, chosen
from counterpoint.types import Prompt, Scores
from fixtures import layouts
from fixtures.hand_made import HandSquares, ItemData, number_of

CAPTIONS = [(f"{k} cats", f"{k} dogs") for k in range(2, 8)]
KINDS = ["quantity and count"] * 4 + ["text"] * 2


class Says:
    """Replies as it is told to, from the number of the picture and the question."""

    def __init__(self, answer: Callable[[int, str], str]) -> None:
        self.answer = answer
        self.asked: list[Prompt] = []

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        self.asked += prompts
        assert all(p.picture is not None for p in prompts)
        return [self.answer(int(number_of(p.picture[None])[0]), p.text) for p in prompts]  # type: ignore[index]

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Float[Tensor, "n w"]:
        raise NotImplementedError


def score(answer: Callable[[int, str], str]) -> Scores:
    found: Scores = create("mmvp")(Says(answer), ItemData(HandSquares(CAPTIONS, KINDS)), np.arange(2))
    return found


def values(scores: Scores) -> dict[str, float]:
    return {name: scores.value(name) for name in scores.metrics}


def test_who_looks_is_right_in_every_pair() -> None:
    found = score(lambda picture, text: "(a)" if picture % 2 == 0 else "(b)")
    assert set(values(found).values()) == {1.0}
    assert found.subsets() == ("all", "quantity and count", "text")


@pytest.mark.parametrize("reply", ["(a)", "b", "dogs", "cats."])
def test_who_does_not_look_has_one_of_two_right_and_no_pair(reply: str) -> None:
    # Both pictures share the question: the trap is to count single answers alone.
    found = values(score(lambda picture, text: reply if reply in "(a) b" else text.split()[7] + " " + reply))
    assert found["single"] == 0.5
    assert found["pair_accuracy"] == found["mean_over_patterns"] == 0


def test_the_mean_over_patterns_weighs_patterns_and_not_pairs() -> None:
    found = values(score(lambda picture, text: "ab"[picture % 2] if picture < 8 else "I cannot tell."))
    assert found["pair_accuracy"] == pytest.approx(4 / 6)
    assert found["mean_over_patterns"] == pytest.approx(1 / 2)
    assert found["decided"] == pytest.approx(4 / 6)


def test_an_adversary_is_wrong_in_everything() -> None:
    found = values(score(lambda picture, text: "ba"[picture % 2]))
    assert (found["single"], found["pair_accuracy"], found["decided"]) == (0, 0, 1)


def test_both_pictures_get_the_same_words() -> None:
    assistant = Says(lambda picture, text: "a")
    create("mmvp")(assistant, ItemData(HandSquares(CAPTIONS, KINDS)), np.arange(2))
    texts = [p.text for p in assistant.asked]
    assert texts[::2] == texts[1::2]
    assert texts[0] == f"{WHICH} (a) 2 cats (b) 2 dogs Answer with the option's letter."


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("(b)", 1),
        (" B. ", 1),
        ("a) a red cat", 0),
        ("The answer is (a).", 0),
        ("(a) or (b)", None),
        ("A red cat sits there.", 0),
        ("a cat", 1),
        ("It shows a red cat, not a cat.", 0),
        ("a dog", None),
        ("", None),
        ("c", None),
    ],
)
def test_replies_are_read_by_letter_and_else_by_words(reply: str, expected: int | None) -> None:
    assert chosen(reply, ("a red cat", "a cat")) == expected


def test_scenes_have_such_questions() -> None:
    world = Scenes.parse("scenes:basic,train=10,test=40,pixels=32")

    class Knows(Says):
        """Recognises the pictures of the edits that it has been shown before."""

        def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
            return ["(a)" if k % 2 == 0 else "(b)" for k in range(len(prompts))]

    found = evaluate(Knows(lambda picture, text: ""), world, ["mmvp"])
    assert found.value("mmvp", "as trained", "pair_accuracy") == 1


def mmvp_questions(root: Path, rows: Sequence[tuple[str, str, str]]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    with (root / "Questions.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("Index", "Question", "Options", "Correct Answer")])
        csv.writer(file).writerows([(k, *row) for k, row in enumerate(rows, 1)])
    for number in range(1, len(rows) + 1):
        layouts.save(root / "MMVP Images" / f"{number}.jpg", number)
    return root


DOOR = ("Is the door open?", "(a) Open (b) Closed")
SIGN = ("Where is the sign?", "(a) On the left side (b) On the right side")


def test_the_published_layout_is_read_row_by_row(tmp_path: Path) -> None:
    rows = [(*DOOR, "(a)"), (*DOOR, "(b)"), (*SIGN, "(b)"), (*SIGN, "(a)")]
    data = load(f"mmvp-questions:{mmvp_questions(tmp_path / 'it', rows)}", 24)
    items = data.items(TwinQuestions, np.arange(2))
    assert [[q.answer for q in pair] for pair in items.questions] == [
        ["Open", "Closed"],
        ["On the right side", "On the left side"],
    ]
    reds = (items.pictures(np.arange(2))[..., 0, 4, 4].double() / 20).round().long()
    assert torch.equal(reds, torch.tensor([[1, 2], [3, 4]]))

    class Right(Says):
        def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
            return ["(a)", "closed", "(b)", "It is on the left side."]

    assert evaluate(Right(lambda p, t: ""), data, ["mmvp"]).value("mmvp", "all", "pair_accuracy") == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(*DOOR, "(a)")], "an even number of rows"),
        ([(*DOOR, "(a)"), (*DOOR, "(a)")], "one question with two answers"),
        ([(*DOOR, "(a)"), (*SIGN, "(b)")], "one question with two answers"),
        ([(*DOOR, "(c)"), (*DOOR, "(b)")], "the letter of one of them"),
    ],
)
def test_a_table_that_holds_no_pairs_is_refused(
    rows: Sequence[tuple[str, str, str]], message: str, tmp_path: Path
) -> None:
    root = mmvp_questions(tmp_path / "it", rows)
    with pytest.raises(ValueError, match=message):
        load(f"mmvp-questions:{root}")
    with pytest.raises(FileNotFoundError, match=r"no Questions\.csv"):
        load(f"mmvp-questions:{tmp_path}")
