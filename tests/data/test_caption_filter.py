"""The filter of captions: parts of speech, relations of things, words written in pictures."""

from __future__ import annotations

import pytest

from counterpoint.data.caption_filter import complexity, has_action, is_read_off, keep, parse


def kinds(caption: str) -> list[str]:
    return [kind for _, kind in parse(caption)]


def test_words_are_what_they_are_by_their_place() -> None:
    assert kinds("a red ball") == ["attribute", "thing"]
    assert kinds("the ball is red") == [
        "thing",
        "thing",
    ]  # red is a noun too, and nothing says it is not one here
    assert kinds("a garden chair") == ["attribute", "thing"]
    assert kinds("two dogs chasing cats") == ["attribute", "thing", "action", "thing"]
    assert kinds("a dog, a cat") == ["thing", "thing"]
    assert kinds("") == []


@pytest.mark.parametrize(
    ("caption", "relations"),
    [
        ("", 0),
        ("dog", 0),
        ("a photo", 0),
        ("a brown dog", 1),
        ("a small brown dog", 2),
        ("a cup on a table", 1),
        ("a small cup on a table", 2),
        ("a man riding a horse on a beach", 2),
        ("running", 0),
    ],
)
def test_complexity_is_the_most_relations_of_a_thing(caption: str, relations: int) -> None:
    assert complexity(caption) == relations


@pytest.mark.parametrize(
    ("caption", "acts"),
    [("a man riding a horse", True), ("the painted wall", True), ("a red ball", False), ("dogs", False)],
)
def test_actions_are_verbs_that_can_be_nothing_else_or_forms(caption: str, acts: bool) -> None:
    assert has_action(caption) is acts


def test_caption_read_off_where_it_holds_whole_words_of_picture() -> None:
    assert is_read_off("Open 24 hours, come in", ["OPEN 24 HOURS"])
    assert not is_read_off("an opener", ["open"])
    assert not is_read_off("a shop", ["", "!"])


def test_all_three_decide() -> None:
    caption = "a brown dog chasing a ball"
    assert keep(caption)
    assert not keep(caption, ["brown dog"])
    assert not keep(caption, relations=9)
    assert not keep("a brown dog")
    assert keep("a brown dog", action=False)
    assert not keep("a ball", action=False)
