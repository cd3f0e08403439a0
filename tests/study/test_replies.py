"""Makers of worse replies, and the folders that they are written to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.data.items import AskedPart
from counterpoint.data.replies import MAKERS
from counterpoint.data.replies._maker import Maker, ReplyRequest
from counterpoint.data.replies.blind import Blind
from counterpoint.data.replies.noise import noisy
from counterpoint.data.source import load_any
from counterpoint.data.synthetic.scenes import Scenes
from counterpoint.decoding.pictures import signal
from counterpoint.registry import UnknownNameError
from counterpoint.study.decoding.transcript import Transcript, TranscriptAssistant
from counterpoint.study.replies import make_replies
from counterpoint.types import Prompt, ReplyAttention

SOURCE = "scenes:tiny,train=14,validation=4,test=4,talk=captions"


class Counting:
    """An assistant that tells pictures apart, and may stop."""

    def __init__(self, stops_at: int = 10**9) -> None:
        self.asked, self.stops_at = 0, stops_at

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        self.asked += len(prompts)
        if self.asked > self.stops_at:
            raise KeyboardInterrupt
        return [f"brightness {0 if p.picture is None else int(p.picture.float().mean())}" for p in prompts]

    def complete(
        self, prompts: Sequence[Prompt], beginnings: Sequence[str], *, hidden: float = 0.0, seed: int = 0
    ) -> list[str]:
        assert hidden == 0.99
        return [f"{reply}, and more" for reply in self.reply(prompts, seed=seed)]

    def attention(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[ReplyAttention]:
        # Bright halves of pictures are attended to.
        # Each request here has a picture.
        halves = [prompt.picture.float().mean((0, 1)).unflatten(0, (2, -1)).mean(1) for prompt in prompts]  # type: ignore[union-attr]
        return [ReplyAttention((half / half.sum())[None, None], -1.0) for half in halves]

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Tensor:
        raise NotImplementedError


LEFT = AskedPart(("image",), 0, (0.0, 0.0, 0.5, 1.0), ())


def asked(count: int) -> list[ReplyRequest]:
    pictures = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8)
    return [ReplyRequest(Prompt("What?", pictures[k]), f"reply {k % 5}", part=LEFT) for k in range(count)]


@pytest.mark.parametrize("name", MAKERS.names())
def test_a_reply_follows_from_the_seed_and_the_request(name: str) -> None:
    maker, rows = MAKERS.get(name)(), asked(12)
    assert isinstance(maker, Maker)
    made = list(maker(Counting(), rows, 3))
    assert list(maker(Counting(), rows[::-1], 3)) == made[::-1]
    assert all(reply != row.reply for reply, row in zip(made, rows, strict=True))


def test_random_replies_are_of_other_rows() -> None:
    maker, rows = MAKERS.get("random")(), asked(200)
    made = maker(Counting(), rows, 0)
    assert {*made} == {row.reply for row in rows}
    assert maker(Counting(), rows, 1) != made
    assert maker(Counting(), rows[:1], 0) == [None]


def test_noise_keeps_the_stated_share_of_the_picture() -> None:
    picture = torch.full((3, 64, 64), 127, dtype=torch.uint8)
    picture[:, :32] = 190
    shown = noisy(picture, 0)
    assert torch.equal(noisy(picture, 0), shown)
    assert not torch.equal(noisy(picture, 1), shown)
    step = (shown[:, :32].float().mean() - shown[:, 32:].float().mean()) / 63
    # The range cuts noise off, so that less is left than in the formula.
    assert 0.5 * signal(900) ** 0.5 < step < signal(900) ** 0.5
    clean = asked(4)
    replies = MAKERS.get("noise")()(Counting(), clean, 0)
    assert replies == Counting().reply([Prompt("What?", noisy(row.prompt.picture, 0)) for row in clean])


class Silent:
    """An assistant that cannot hide anything."""

    reply, word_logits = Counting.reply, Counting.word_logits


class Scripted(Counting):
    """An assistant that says what was written for it, and keeps what it was asked."""

    def __init__(self, *texts: str) -> None:
        super().__init__()
        self.texts, self.begun = list(texts), list[tuple[str, float, int]]()

    def complete(
        self, prompts: Sequence[Prompt], beginnings: Sequence[str], *, hidden: float = 0.0, seed: int = 0
    ) -> list[str]:
        self.begun += [(text, hidden, seed) for text in beginnings]
        return [self.texts.pop(0) for _ in beginnings]


def request(reply: str) -> ReplyRequest:
    return ReplyRequest(Prompt("What?", torch.zeros(3, 8, 8, dtype=torch.uint8)), reply)


def test_a_blind_model_goes_on_with_the_good_reply_before_each_first_content_word() -> None:
    assistant = Scripted("blue dog, and more", "large hats. No.")
    good = "A red cat, and the 3.5 balls are small."
    assert Blind()(assistant, [request(good)], 0) == ["A blue dog, and the large hats."]
    assert assistant.begun == [("A", 0.99, 0), ("A red cat, and the", 0.99, 0)]
    free = Scripted("blue dog, and more")
    assert Blind(guided=False)(free, [request(good)], 0) == ["blue dog, and more"]
    assert free.begun == [("", 0.99, 0)]


def test_similar_replies_are_drawn_again_and_refusals_are_none() -> None:
    assistant = Scripted("red cat", "red cat", "dog")
    assert Blind(tries=3)(assistant, [request("A red cat")], 7) == ["A dog"]
    assert len({seed for _, _, seed in assistant.begun}) == 3
    assert Blind(tries=2)(Scripted("red cat", "red cat"), [request("A red cat")], 0) == ["A red cat"]
    no_picture = ReplyRequest(Prompt("What?"), "a cat")
    refusal = Scripted("cannot see the image")
    assert Blind(tries=1)(refusal, [request("I see it"), no_picture], 0) == [None, None]
    with pytest.raises(ValueError, match="blind asks models that can hide a picture's tokens"):
        Blind()(Silent(), [request("A cat")], 0)
    through = TranscriptAssistant(Silent(), Transcript(), lambda count: None)
    with pytest.raises(ValueError, match="Silent cannot go on with a reply"):
        Blind()(through, [request("A cat")], 0)


def test_completions_are_written_down_with_their_beginnings() -> None:
    assistant = Scripted("dog", "hat")
    keeping = TranscriptAssistant(assistant, Transcript(), lambda count: None)
    prompts = [request("").prompt] * 2
    first = keeping.complete(prompts, ["A", "The"], hidden=0.5)
    assert keeping.complete(prompts, ["A", "The"], hidden=0.5) == first == ["dog", "hat"]
    assert len(assistant.begun) == 2


def test_errors_are_those_of_the_world_or_asked_of_the_model() -> None:
    known = ReplyRequest(Prompt("What?"), "a red cat", "a blue cat")
    assistant = Counting()
    assert MAKERS.get("injected")()(assistant, [known, ReplyRequest(Prompt("What?"), "a dog")], 0) == [
        "a blue cat",
        "brightness 0",
    ]
    assert assistant.asked == 1


def test_a_world_puts_one_error_into_its_caption() -> None:
    world = Scenes.parse("scenes:companions,train=12")
    edited = [world.edited_reply(row, world.captions(row)[0], 5) for row in range(12)]
    known = [(text, world.captions(row)[0]) for row, text in enumerate(edited) if text is not None]
    assert len(known) > 8
    assert all(text != caption for text, caption in known)
    assert world.edited_reply(0, "something else", 5) is None


def test_replies_are_columns_of_the_data_and_go_on_where_they_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("counterpoint.study.decoding.transcript._AT_ONCE", 8)
    with pytest.raises(KeyboardInterrupt):
        make_replies(Counting(8), SOURCE, tmp_path / "pairs", ["random", "noise"], seed=2)
    assistant = Counting()
    manifest = make_replies(assistant, SOURCE, tmp_path / "pairs", ["random", "noise"], seed=2)
    assert assistant.asked == 6
    whole = make_replies(Counting(), SOURCE, tmp_path / "whole", ["random", "noise"], seed=2)
    assert manifest == whole
    data, other = (load_any(str(tmp_path / name)) for name in ("pairs", "whole"))
    assert data.columns == {
        "image": "image",
        "text": "text",
        "talk": "talk",
        "random": "talk",
        "noise": "talk",
    }
    rows = data.splits.train
    for column in ("random", "noise"):
        assert data.present(column, rows).all()
        assert not data.present(column, np.arange(14, 22)).any()
        assert data.read(column, rows) == other.read(column, rows)
    good, noise = data.read("talk", rows[:3]), data.read("noise", rows[:3])
    assert good == load_any(SOURCE).read("talk", rows[:3])
    assert [row[0].request for row in noise] == [row[0].request for row in good]
    assert noise[0][0].reply.startswith("brightness")
    assert data.identity(data.columns) == other.identity(other.columns)
    assert data.kind_of_word("red") == "colour"
    with pytest.raises(ValueError, match="holds replies of seed 2, and not 3"):
        make_replies(Counting(), SOURCE, tmp_path / "pairs", ["random"], seed=3)


def test_of_several_exchanges_one_is_taken_and_useless_replies_are_counted(tmp_path: Path) -> None:
    class Same(Counting):
        def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
            return [" "] * len(prompts)

    source = SOURCE.replace("captions", "questions+captions")
    manifest = make_replies(Same(), source, tmp_path / "pairs", ["noise"], rows=10)
    assert manifest.refused == {"noise": {"empty": 10}}
    data = load_any(str(tmp_path / "pairs"))
    rows = data.splits.train
    assert {len(row) for row in data.read("talk", rows[:10])} == {1}
    assert not data.present("noise", rows).any()
    assert max(len(row) for row in data.read("talk", rows[10:])) > 1
    assert np.array_equal(data.ids, load_any(source).ids)


def test_makers_and_columns_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown maker of replies 'noize': did you mean 'noise'"):
        make_replies(Counting(), SOURCE, tmp_path, ["noize"])
