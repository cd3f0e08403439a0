"""Words of a reply, and the whole lens on a tiny model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from counterpoint.diagnostics.assistants.captions import contextual_lens, reply_tokens, words_of
from counterpoint.types import Prompt
from fixtures.tiny_vlms import KINDS, tiny

PIECES = ["<end>", "A", " red", " ca", "t", " and", " don", "'t", ".", " tulip", "é", "e"]


class Tokenizer:
    """Knows the pieces above; an id is the place of a piece, 100 and more half of a character."""

    def decode(self, ids: Sequence[int], **options: bool) -> str:
        assert options == {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        data = b"".join(bytes([k - 100]) if k >= 100 else PIECES[k].encode() for k in ids if k)
        return data.decode(errors="replace")


def spans(*ids: int) -> list[tuple[str, int, int]]:
    text, found = words_of(Tokenizer(), ids)
    assert all(text[span.start : span.end] == span.text for span in found)
    return [(span.text, span.tokens.start, span.tokens.stop) for span in found]


def test_words_are_whole_and_know_their_tokens() -> None:
    assert spans(1, 2, 3, 4, 8, 0) == [("A", 0, 1), ("red", 1, 2), ("cat", 2, 4)]
    assert spans(1, 5, 6, 7) == [("A", 0, 1), ("and", 1, 2), ("don't", 2, 4)]
    assert spans(8, 0) == []


def test_a_character_of_two_tokens_belongs_to_one_word() -> None:
    first, second = "é".encode()
    assert spans(9, 100 + first, 100 + second, 11) == [("tulipée", 0, 4)]


class Words:
    """Every token of the tiny models is a word."""

    def decode(self, ids: Sequence[int], **options: bool) -> str:
        return " ".join(f"w{k}" for k in ids)


def test_every_word_has_a_score_a_map_and_a_box() -> None:
    model, inputs = tiny("Llava"), KINDS["Llava"].row(0)
    found = contextual_lens(model, Words(), inputs, max_new_tokens=4)
    assert (found.grid, found.layers) == ((2, 2), (1, 1))
    assert len(found.words) == 4
    assert found.reply == " ".join(word.text for word in found.words)
    for word in found.words:
        assert word.support == pytest.approx(float(word.heat.max()), abs=1e-6)
        assert word.support <= word.box.cosine + 1e-5  # one place is a box as well
        assert 0 < word.probability <= 1
        assert 0 < word.logit_lens <= 1
    again = contextual_lens(model, Words(), inputs, [int(word.text[1:]) for word in found.words])
    assert [word.support for word in again.words] == [word.support for word in found.words]


def test_variants() -> None:
    model, inputs = tiny("Llava"), KINDS["Llava"].row(0)
    reply = [8, 9]
    first = contextual_lens(model, Words(), inputs, reply, layers=(1, 0))
    plain, centred = (
        contextual_lens(model, Words(), inputs, reply, layers=(1, 2), centred=centred)
        for centred in (False, True)
    )
    assert first.words[0].support != plain.words[0].support
    assert plain.words[0].support != centred.words[0].support
    large = contextual_lens(model, Words(), inputs, reply, least=4)
    assert [word.box.area for word in large.words] == [1.0, 1.0]


def test_bad_input() -> None:
    model, kind = tiny("Llava"), KINDS["Llava"]
    inputs = kind.row(0)
    with pytest.raises(ValueError, match="one prompt at a time"):
        contextual_lens(model, Words(), kind.batch([inputs, kind.row(1)]))
    with pytest.raises(ValueError, match="layers 0 to 2"):
        contextual_lens(model, Words(), inputs, [8], layers=(1, 3))
    with pytest.raises(ValueError, match="is empty"):
        contextual_lens(model, Words(), inputs, [])
    with pytest.raises(ValueError, match="has no word"):
        contextual_lens(model, Tokenizer(), inputs, [8])


class Template:
    """Writes conversations as tiny-vlm does, one token a word."""

    all_special_ids = (0,)

    @property
    def tokenizer(self) -> Template:
        return self

    def apply_chat_template(
        self, messages: list[dict[str, object]], tokenize: bool, add_generation_prompt: bool = False
    ) -> str:
        said = ["U hi" if it["role"] == "user" else f"A {it['content'][0]['text']} END" for it in messages]  # type: ignore[index]
        return " ".join([*said, "A"] if add_generation_prompt else said)

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        ids = {"U": 1, "A": 2, "END": 0}
        return {"input_ids": [ids.get(word, 10 + len(word)) for word in text.split()]}


def test_written_reply_has_tokens_that_stand_behind_the_prompt() -> None:
    prompt = Prompt("hi", torch.zeros(3, 2, 2, dtype=torch.uint8))
    assert reply_tokens(Template(), prompt, "red cats") == [13, 14]
    with pytest.raises(ValueError, match="no token"):
        reply_tokens(Template(), prompt, "")
