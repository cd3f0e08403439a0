"""Wrong replies that attend to other pictures: the ratio by hand, right replies, outliers, and albums end to end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.data.items import AskedPart
from counterpoint.data.replies._maker import ReplyRequest
from counterpoint.data.replies.albums import Albums, attention_ratio, edit_distance, inside_box
from counterpoint.data.source import load_any
from counterpoint.study.decoding.transcript import Transcript, TranscriptAssistant
from counterpoint.study.replies import make_replies
from counterpoint.types import Prompt, ReplyAttention

WHOLE = (0.0, 0.0, 1.0, 1.0)
SOURCE = "scenes:tiny,objects=1,train=20,validation=4,test=4,pixels=16,talk=captions"


class Scripted:
    """An assistant that says what was written for it, with one attention for all replies."""

    def __init__(self, *texts: str, weights: Tensor | None = None, likely: float = -1.0) -> None:
        self.texts, self.weights, self.likely = list(texts), weights, likely
        self.asked: list[Prompt] = []
        self.scored: list[str] = []

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        self.asked += prompts
        return [self.texts[k % len(self.texts)] for k in range(len(prompts))]

    def attention(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[ReplyAttention]:
        self.scored += replies
        weights = torch.tensor([[[0.1, 0.3]]]) if self.weights is None else self.weights
        return [ReplyAttention(weights, self.likely) for _ in prompts]

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Tensor:
        raise NotImplementedError


def about(reply: str, box: tuple[float, float, float, float] = (0.0, 0.0, 0.5, 1.0)) -> ReplyRequest:
    picture = torch.zeros(3, 8, 8, dtype=torch.uint8)
    return ReplyRequest(Prompt("What?", picture), reply, part=AskedPart(("image",), 0, box, ()))


def ratio(weights: list[list[list[float]]], number: int, box: tuple[float, float, float, float]) -> float:
    return attention_ratio(ReplyAttention(torch.tensor(weights), 0.0), AskedPart(("image",), number, box, ()))


def test_the_ratio_is_relative_to_the_share_of_tokens() -> None:
    quarter = (0.5, 0.0, 1.0, 0.5)
    assert ratio([[[0.1, 0.1], [0.1, 0.1]]], 0, quarter) == pytest.approx(1)
    assert ratio([[[0.1, 0.3], [0.1, 0.1]]], 0, quarter) == pytest.approx((0.3 / 0.6) / (1 / 4))
    # Of two pictures, the second.
    assert ratio([[[0.1]], [[0.3]]], 1, WHOLE) == pytest.approx(0.75 / 0.5)
    # A sink has no part in either sum, nor in the number of tokens.
    assert ratio([[[0.1, 0.3], [math.nan, 0.1]]], 0, quarter) == pytest.approx((0.3 / 0.5) / (1 / 3))
    assert math.isnan(ratio([[[0.1, math.nan], [0.1, 0.1]]], 0, quarter))
    assert math.isnan(ratio([[[math.nan] * 2] * 2], 0, quarter))
    # One picture is all that can be attended to.
    assert ratio([[[0.1, 0.7], [0.1, 0.1]]], 0, WHOLE) == 1
    with pytest.raises(
        ValueError, match="no token of the picture lies in the part of it that is asked about"
    ):
        ratio([[[0.5]], [[0.5]]], 0, quarter)


def test_a_token_belongs_to_the_part_that_has_most_of_its_area() -> None:
    third = (1 / 3, 0.0, 2 / 3, 1.0)
    assert inside_box(third, 1, 8).tolist() == [[False, False, False, True, True, False, False, False]]
    tiles = [inside_box((k / 3, 0.0, (k + 1) / 3, 1.0), 2, 7) for k in range(3)]
    assert int(torch.stack(tiles).sum()) == 14  # each token has one tile
    assert inside_box((0.2, 0.2, 0.7, 0.7), 4, 4).tolist() == [
        [False] * 4,
        *[[False, True, True, False]] * 2,
        [False] * 4,
    ]


def test_right_replies_are_never_worse_ones() -> None:
    assistant = Scripted("a red cat", "The red cat.", "A blue dog.")
    asked = [about("A red cat.")] * 3
    assert Albums()(assistant, asked, 0) == [None, None, "A blue dog."]
    assert assistant.scored == ["A blue dog."]
    # Neither are those that attend to what is asked about.
    attending = Scripted("A blue dog.", weights=torch.tensor([[[0.3, 0.1]]]))
    assert Albums()(attending, asked[:1], 0) == [None]
    assert Albums(ratio=1.6)(attending, asked[:1], 0) == ["A blue dog."]
    # With one picture that is asked about as a whole there is nothing else to attend to.
    assert Albums()(Scripted("A blue dog."), [about("A red cat.", WHOLE)], 0) == [None]


def test_outliers_are_left_out() -> None:
    good = "a red cat"
    assert Albums()(Scripted(" "), [about(good)], 0) == [None]
    assert Albums()(Scripted("no " * 9), [about(good)], 0) == [None]
    assert Albums(lengths=9)(Scripted("no " * 9), [about(good)], 0) == ["no " * 9]
    assert Albums()(Scripted("a red cap"), [about(good)], 0) == ["a red cap"]
    assert Albums(edits=0.3)(Scripted("a red cap"), [about(good)], 0) == [None]
    unlikely = Scripted("a blue dog", likely=-math.log(21))
    assert Albums()(unlikely, [about(good)], 0) == [None]
    assert Albums(perplexity=22)(unlikely, [about(good)], 0) == ["a blue dog"]
    assert Albums()(Scripted("a blue dog", likely=-math.inf), [about(good)], 0) == [None]


@pytest.mark.parametrize(
    ("one", "other", "edits"), [("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
)
def test_edit_distance(one: str, other: str, edits: int) -> None:
    assert edit_distance(one, other) == edit_distance(other, one) == edits


def test_requests_and_assistants_that_cannot_be_are_refused() -> None:
    plain = ReplyRequest(Prompt("What?", torch.zeros(3, 8, 8, dtype=torch.uint8)), "a cat")
    with pytest.raises(
        ValueError, match="albums takes requests about one of several pictures: write ,albums="
    ):
        Albums()(Scripted("a dog"), [plain], 0)
    assert Albums()(Scripted("a blue dog"), [plain, about("a red cat")], 0) == [None, "a blue dog"]
    assert Albums()(Scripted("a blue dog"), [], 0) == []

    class Silent:
        reply, word_logits = Scripted.reply, Scripted.word_logits

    with pytest.raises(ValueError, match="albums asks models that show their attention, not Silent"):
        Albums()(Silent(), [about("a cat")], 0)
    through = TranscriptAssistant(Silent(), Transcript(), lambda count: None)
    with pytest.raises(ValueError, match="Silent does not show its attention"):
        through.attention([], [])
    with pytest.raises(ValueError, match="ratio of Albums must be greater than 0"):
        Albums(ratio=0)


def test_the_pairs_are_about_the_same_albums(tmp_path: Path) -> None:
    source = f"{SOURCE},albums=sequence"
    assistant = Scripted("a blue dog", weights=torch.tensor([[[0.2]], [[0.3]]]))
    manifest = make_replies(assistant, source, tmp_path / "pairs", ["albums"])
    data, plain = load_any(str(tmp_path / "pairs")), load_any(source)
    assert {**data.columns} == {**plain.columns, "albums": "talk"}
    rows = data.splits.train
    asked = data.present("albums", rows)
    # Every row of an album asks about a part.
    first = np.array([plain.asked_part(int(row)).number == 0 for row in rows])  # type: ignore[union-attr]
    good = [talk[0] for talk in plain.read("talk", rows)]
    assert asked.tolist() == [
        bool(of) and one.reply != "a blue dog" for of, one in zip(first, good, strict=True)
    ]
    assert manifest.refused == {"albums": {"none could be made": int((~asked).sum())}}
    for row, prompt in zip(rows, assistant.asked, strict=True):
        shown = [plain.read(column, np.array([row]))[0] for column in ("image", "second")]
        # Prompts of an album have pictures.
        assert torch.equal(prompt.picture, torch.stack(shown))  # type: ignore[arg-type]
        assert prompt.text == data.read("talk", np.array([row]))[0][0].request
        assert data.asked_part(int(row)) == plain.asked_part(int(row))
