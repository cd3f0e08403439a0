"""The texts and the tokenizer of the language model that binds words in context."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from counterpoint.evaluation.tasks.binding import REQUEST, WORDS
from counterpoint.networks.towers.chat import EXCHANGE, REPLY, TOKEN, Chat
from counterpoint.raw import Exchange
from counterpoint_reproductions.lab.binding_reader import (
    LENGTH,
    THINGS,
    VOCABULARY,
    conversation,
    language_model,
    repeated,
    strings,
    turn,
    write,
)
from counterpoint_reproductions.lab.data_talks import FEW_SINGLE_THINGS


@pytest.mark.parametrize("kind", [conversation, repeated, strings])
def test_rows_have_one_length_and_differ(kind: Any) -> None:
    rng = np.random.default_rng(0)
    rows = [kind(rng) for _ in range(20)]
    assert {len(row) for row in rows} == {LENGTH}
    assert len({tuple(row) for row in rows}) == 20


def test_a_thing_has_one_name_in_a_conversation() -> None:
    rng, own = np.random.default_rng(0), 0
    for _ in range(40):
        row = conversation(rng)
        said: dict[str, set[str]] = {}
        for start in range(0, LENGTH, 6):
            thing, name = VOCABULARY[row[start + 2]], VOCABULARY[row[start + 4]]
            said.setdefault(thing, set()).add(name)
        assert all(len(names) == 1 for names in said.values())
        assert {*said} <= {*THINGS}
        own += all(names == {thing} for thing, names in said.items())
    assert 0 < own < 20


def test_prompts_are_the_texts_with_a_picture_in_the_place_of_a_thing(tmp_path: Path) -> None:
    weights = torch.nn.utils.parameters_to_vector(language_model().parameters()).detach().numpy()
    write(weights, tmp_path)
    chat = Chat(AutoTokenizer.from_pretrained(tmp_path), 32)
    (talk,) = chat([(Exchange(REQUEST, "dax"), Exchange(REQUEST, "wug"))])
    expected = [
        token for name in ("dax", "wug") for token in np.delete(turn(0, VOCABULARY.index(name)), [1, 2])
    ]
    used = talk[:, talk[EXCHANGE] > 0]
    assert used[TOKEN].tolist() == expected
    assert used[REPLY].tolist() == [0, 0, 1, 1] * 2
    assert (chat.opening, chat.turn_opening) == (1, 1)
    assert chat.decode(used[TOKEN][used[REPLY] > 0]) == "dax wug"
    read = torch.nn.utils.parameters_to_vector(AutoModelForCausalLM.from_pretrained(tmp_path).parameters())
    assert np.array_equal(read.detach().numpy(), weights)


def test_the_reply_is_the_thing_that_a_picture_shows() -> None:
    concepts = FEW_SINGLE_THINGS.classes["concept"]
    for row in range(8):
        ((request, reply),) = FEW_SINGLE_THINGS.talk(row)
        assert request == REQUEST
        assert reply in THINGS
        assert reply in concepts.names[concepts.values[row]]
    assert not {*THINGS} & {*WORDS}
