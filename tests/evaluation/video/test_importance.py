"""The modality importance task: each type by its own similarities, permutation, chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from counterpoint.data.items import Narrations
from counterpoint.data.synthetic.clips.world import VideoClips
from counterpoint.evaluation import create, failures
from counterpoint.evaluation.inspection import breakdown
from counterpoint.evaluation.modality_importance import guessing
from counterpoint.evaluation.task import NotApplicableError
from fixtures.hand_made import Blind, ItemData, SimilarityTable, numbered

TASK = "modality_importance_score"
ALL = np.arange(2)


class Hand(Narrations):
    """Item k has one frame, number k."""

    def __init__(self, kinds: Sequence[str], options: int = 3) -> None:
        self.kinds, n = kinds, len(kinds)
        self.ids = np.arange(n)
        self.narrations = [f"said {k}" for k in range(n)]
        self.questions = [f"asked {k}" for k in range(n)]
        self.options = [tuple(f"option {k} {o}" for o in range(options)) for k in range(n)]
        self.answers = np.zeros(n, np.int64)

    def frames(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k T 3 H W"]:
        return numbered(positions)[:, None]


# Similarities of the three options, of which the first is right, with the video and with what is said.
NEAR = {
    "video": ([0.9, 0.1, 0.0], [0.0, 0.2, 0.1]),
    "text": ([0.0, 0.2, 0.1], [0.9, 0.1, 0.0]),
    "both": ([0.5, 0.6, 0.0], [0.5, 0.0, 0.6]),
    "either": ([0.9, 0.1, 0.0], [0.9, 0.0, 0.1]),
}


def given(kinds: Sequence[str]) -> SimilarityTable:
    """A model of these similarities: a picture is one-hot in the first places, what is said in those after them."""
    n = len(kinds)
    table = {}
    for k, kind in enumerate(kinds):
        for o, (seen, heard) in enumerate(zip(*NEAR[kind], strict=True)):
            column = torch.zeros(2 * n)
            column[k], column[n + k] = seen, heard
            table[f"option {k} {o}"] = column
        table[f"said {k}"] = torch.eye(2 * n)[n + k]
    return SimilarityTable(table)


def test_every_kind_of_question_is_found_by_what_answers_it() -> None:
    kinds = list(NEAR)
    scores = create(TASK)(given(kinds), ItemData(Hand(kinds)), ALL)
    assert scores.value("type_accuracy") == scores.value("type_macro_f1") == 1
    assert scores.examples["video_accuracy"].to_list() == [1, 0, 0, 1]
    assert scores.examples["text_accuracy"].to_list() == [0, 1, 0, 1]
    assert scores.examples["both_accuracy"].to_list() == [1, 1, 1, 1]
    assert scores.examples["video_importance"].to_list() == [1, 0, 1, 0]
    assert scores.examples["text_importance"].to_list() == [0, 1, 1, 0]
    for name in ("video-biased", "text-biased", "complementary", "agnostic, correct"):
        assert scores.value(f"share_{name}") == 0.25
    assert scores.value("nothing_accuracy") == pytest.approx(1 / 3)  # the questions are not near anything
    assert set(breakdown(scores)["subset"]) == {"all", "chance", *kinds}


def test_with_another_video_or_another_text_those_fall_need_it() -> None:
    kinds = ["video", "text", "video", "text"]
    scores = create(TASK)(given(kinds), ItemData(Hand(kinds)), ALL)
    # Another item's picture, or words, are near none of the options: the other modality decides, wrongly or rightly.
    assert scores.examples["video_permuted"].to_list() == [0, 1, 0, 1]
    assert scores.examples["text_permuted"].to_list() == [1, 0, 1, 0]


def test_chance_is_what_guesses_come_to() -> None:
    kinds = list(NEAR)
    scores = create(TASK)(Blind(), ItemData(Hand(kinds, options=5)), ALL)
    guessed = guessing({"video", "text"}, 5)
    assert scores.value("both_accuracy") == scores.metrics["both_accuracy"].chance == pytest.approx(0.2)
    assert scores.metrics["share_complementary"].chance == pytest.approx(0.128)
    types = ("video-biased", "text-biased", "complementary", "agnostic, correct")
    assert scores.metrics["type_accuracy"].chance == pytest.approx(np.mean([guessed[t] for t in types]))
    assert scores.value("video_importance") == 0


def test_questions_of_unknown_need_have_no_type_to_find() -> None:
    items = Hand(["video", "video"])
    items.kinds = ["plot", "video"]
    scores = create(TASK)(given(["video", "video"]), ItemData(items), ALL)
    assert scores.examples["type"].to_list() == [None, 1.0]
    items.kinds = ["plot", "people"]
    scores = create(TASK)(given(["video", "video"]), ItemData(items), ALL)
    assert "type_accuracy" not in scores.metrics
    assert scores.value("share_video-biased") == 1


def test_bad_questions_are_refused() -> None:
    with pytest.raises(NotApplicableError, match="asks about narrations"):
        create(TASK)(Blind(), ItemData(), ALL)
    with pytest.raises(ValueError, match="two questions at least"):
        create(TASK)(Blind(), ItemData(Hand(["video"])), ALL)
    with pytest.raises(ValueError, match=r"of 1 option or more"):
        create(TASK)(Blind(), ItemData(Hand(["video", "text"], options=1)), ALL)


def test_it_runs_on_clips_and_failures_are_drawn(tmp_path: Path) -> None:
    data = VideoClips.parse("clips:narrated,train=2,validation=2,test=20,pixels=16,frames=6")
    rows = data.splits.test["as trained"]
    model = Blind()
    scores = create(TASK)(model, data, rows)
    assert 8 < len(scores.examples) <= 20
    assert failures(scores, model, data, rows, tmp_path / "failures.png", most=2).stat().st_size > 0
