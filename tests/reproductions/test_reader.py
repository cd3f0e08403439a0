"""The data and the tokenizer of the language model that learns to read examples."""

from __future__ import annotations

import numpy as np

from counterpoint.networks.towers.chat import EXCHANGE, REPLY, TOKEN, Chat
from counterpoint.raw import Exchange
from counterpoint_reproductions.lab.data_episodes import FEW_CODES, FEW_STRINGS, LENGTH, WORDS
from counterpoint_reproductions.lab.reader import CONTEXT, word_tokenizer


def test_a_string_comes_again_at_varied_distances() -> None:
    distances = set()
    for row in range(20):
        ((request, reply),) = FEW_STRINGS.talk(row)
        words = [request, *reply.split()]
        assert len(words) == LENGTH
        assert {*words} <= {*WORDS}
        pair = tuple(words[:2])
        again = [n for n in range(1, LENGTH - 1) if tuple(words[n : n + 2]) == pair]
        assert again
        distances |= set(np.diff([0, *again]).tolist())
    assert len(distances) > 5  # at one distance, strings could be copied by position


def test_a_reply_stands_right_behind_its_request() -> None:
    chat = Chat(word_tokenizer(), CONTEXT)
    (talk,) = chat([(Exchange("cat", "alpha"), Exchange("dog", "bravo"))])
    used = talk[:, talk[EXCHANGE] > 0]
    assert chat.tokenizer.convert_ids_to_tokens(used[TOKEN].tolist()) == [
        "<start>",
        *("cat", "alpha", "<end>"),
        *("dog", "bravo", "<end>"),
    ]
    assert used[REPLY].tolist() == [0, 0, 1, 1, 0, 1, 1]
    (strings,) = chat([FEW_STRINGS.talk(0)])
    assert int((strings[EXCHANGE] > 0).sum()) == LENGTH + 2  # nothing is cut


def test_things_of_test_rows_are_in_no_training_row() -> None:
    train = {FEW_CODES.talk(int(row))[0].request for row in FEW_CODES.splits.train}
    test = {FEW_CODES.talk(int(row))[0].request for row in next(iter(FEW_CODES.splits.test.values()))}
    assert not train & test
