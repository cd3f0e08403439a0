"""The texts that the language model of Frozen reads: what comes again, and which replies can be known."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoint.evaluation.tasks.binding import REQUEST, WORDS
from counterpoint.networks.towers.chat import Chat
from counterpoint.raw import Exchange
from counterpoint_reproductions.lab.reader import CONTEXT, TOKENS, Reader

NAMES = ("cat", "fish", "apple")
CHAT = Chat.fit([[(Exchange(REQUEST, text),) for text in (*NAMES, *WORDS)]], 400, CONTEXT)
READER = Reader(CHAT, NAMES)


def test_known_tokens_of_strings_follow_what_they_followed_before() -> None:
    rng, distances = np.random.default_rng(0), set()
    for _ in range(20):
        tokens, known = READER.strings(rng)
        assert len(tokens) == len(known)
        assert any(known)
        for n in np.flatnonzero(known).tolist():
            before = [m for m in range(1, n) if tokens[m - 1 : m + 1] == tokens[n - 1 : n + 1]]
            assert before
            distances.add(n - before[-1])
    assert len(distances) > 5  # at one distance, strings could be copied by position


@pytest.mark.parametrize("invented", [True, False])
def test_reply_is_known_once_its_thing_was_named(invented: bool) -> None:
    rng = np.random.default_rng(0)
    tokens, known = READER.episode(rng, 2, 2, invented=invented)
    told: dict[int, int] = {}
    size = len(tokens) - 1  # the first turn has one token more
    assert size % 5 == 0
    for number in range(5):
        start = 1 + number * size // 5
        thing, *others = tokens[start + 1 : start + 1 + TOKENS]
        assert thing in READER.names
        assert {*others} == {thing}
        reply, end = (start + size // 5 - offset for offset in (2, 1))
        assert tokens[end] == CHAT.end
        assert known[reply] is (thing in told or not invented)
        assert tokens[reply] == told.setdefault(thing, tokens[reply])
        assert (tokens[reply] == thing) is not invented
    # As the chat writes the same conversation, with the thing in the place of a picture.
    (row,) = CHAT([(Exchange(REQUEST, "dax"),)])[:, 0].tolist()
    assert row[:2] == tokens[:2]
    assert tokens[2 + TOKENS : 2 + TOKENS + len(READER.asked)] == row[2 : 2 + len(READER.asked)]


def test_names_of_several_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="larger vocabulary"):
        Reader(CHAT, (*NAMES, "photosynthesis"))
