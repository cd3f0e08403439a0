"""Conversations as tokens: the template, replies, words, and templates that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from counterpoint.networks.towers.chat import Chat
from counterpoint.raw import Exchange

TWO = (Exchange("What is it?", "A red cat."), Exchange("Where?", "On the mat."))


@pytest.fixture(scope="module")
def chat() -> Chat:
    return Chat.fit([[TWO]], vocabulary=280, context=64)


def test_the_channels_say_what_is_a_reply_and_of_which_exchange(chat: Chat) -> None:
    tokens, reply, exchange = chat([TWO])[0]
    assert chat.tokenizer.decode(tokens[exchange > 0]) == (
        "<start><user>What is it?<assistant>A red cat.<end><user>Where?<assistant>On the mat.<end>"
    )
    assert chat.decode(tokens[(reply == 1) & (exchange == 1)]) == "A red cat."
    assert chat.tokenizer.decode(tokens[(reply == 1) & (exchange == 2)]) == "On the mat.<end>"
    assert chat.tokenizer.decode(tokens[: chat.opening]) == "<start><user>"
    assert (tokens[exchange == 0] == chat.padding).all()


def test_a_prompt_is_the_beginning_of_its_conversation(chat: Chat) -> None:
    whole = chat([TWO])[0]
    prompt = chat([(TWO[0], Exchange("Where?", ""))])[0]
    length = int((prompt[2] > 0).sum())
    assert torch.equal(prompt[:, :length], whole[:, :length])
    assert whole[1, length] == 1


def test_a_reply_longer_than_the_context_is_cut(chat: Chat) -> None:
    long = (Exchange("What?", "word " * 100),)
    assert chat.too_long([TWO, long]).tolist() == [False, True]
    assert chat([long])[0, 1].sum() > 0
    with pytest.raises(ValueError, match="talk_context=4 is too small"):
        Chat.fit([[TWO]], vocabulary=280, context=4)


def test_tokens_belong_to_words_of_the_reply(chat: Chat) -> None:
    tokens, reply, exchange = chat([TWO])[0]
    numbers = chat.words(tokens[(reply == 1) & (exchange == 2)])
    assert sorted(set(numbers)) == [-1, 0, 1, 2]
    assert numbers == [*sorted(numbers[:-1]), -1]


def test_it_is_read_again_from_its_file(chat: Chat, tmp_path: Path) -> None:
    chat.save(tmp_path / chat.file)
    again = Chat.load(tmp_path / chat.file)
    assert torch.equal(again([TWO]), chat([TWO]))
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a chat tokenizer"):
        Chat.load(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "has no chat template"),
        ("{{ messages | length }}{% for m in messages %}{{ m['content'] }}<end>{% endfor %}", "only appends"),
        ("{% for m in messages %}{{ m['content'] }}{% endfor %}", "does not end replies in the end token"),
        ("nothing", "leaves the request out"),
    ],
)
def test_a_template_that_gives_a_reply_no_place_is_refused(template: str, message: str) -> None:
    tokenizer = Chat.fit([[TWO]], vocabulary=280, context=64).tokenizer
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match=message):
        Chat(tokenizer, 64)


def test_a_template_that_writes_pictures_is_saved_with_its_word(tmp_path: Path) -> None:
    row = (Exchange("What?", "A cat."), Exchange("Where?", "Here."))
    tokenizer = Chat.fit([[row]], vocabulary=280, context=40).tokenizer
    chat = Chat(tokenizer, 40, "<image>")
    assert torch.equal(chat([row]), Chat(tokenizer, 40)([row])), (
        "the word itself is no token of a conversation"
    )
    chat.save(tmp_path / "chat.json")
    again = Chat.load(tmp_path / "chat.json")
    assert again.image == "<image>"
    assert torch.equal(again([row]), chat([row]))
