"""Byte-pair tokens: every string comes back, the end is always there, nothing depends on order or process."""

from __future__ import annotations

import pickle
import random
import unicodedata
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.networks import BytePairTokenizer

CAPTIONS = ["a red car", "a blue car on a red road", "woman: medium skin tone", "grinning face", "Åland"]


def trained(vocabulary: int = 320, context: int = 12) -> BytePairTokenizer:
    return BytePairTokenizer.train(CAPTIONS * 5, vocabulary, context)


LONG = trained(context=4096)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_every_string_can_be_encoded_and_comes_back(text: str) -> None:
    back = LONG.decode(LONG([text])[0])
    expected = unicodedata.normalize("NFC", text).lower().strip()
    assert unicodedata.normalize("NFC", back) == unicodedata.normalize("NFC", expected)


def test_rows_are_start_text_end_padding() -> None:
    ids = trained()(["a red car", ""])
    assert ids.dtype == torch.long
    assert (ids[:, 0] == 1).all()
    assert ids[1].tolist() == [1, 2] + [0] * (ids.shape[1] - 2)
    assert (ids[0] == 2).sum() == 1
    assert ids[0, -1] == 2, "the longest caption sets the length"


def test_a_long_caption_is_cut_and_still_ends() -> None:
    tokenizer = trained(context=7)
    ids = tokenizer(["a blue car on a red road " * 10, "a red car"])
    assert ids.shape == (2, 7)
    assert ids[0, -1] == tokenizer.end
    whole = trained(context=100)(["a blue car on a red road " * 10])
    assert torch.equal(ids[0, :-1], whole[0, :6])


def test_names_of_special_tokens_are_text() -> None:
    tokenizer = trained(context=40)
    for again in (tokenizer, pickle.loads(pickle.dumps(tokenizer))):
        ids = again(["<end> of <pad> the <start>"])[0].tolist()
        assert (ids.count(0), ids.count(1), ids.count(2)) == (0, 1, 1)


def test_case_and_order_of_captions_do_not_matter() -> None:
    shuffled = [c.upper() for c in CAPTIONS * 5]
    random.Random(0).shuffle(shuffled)
    other = BytePairTokenizer.train(shuffled, 320, 12)
    assert torch.equal(trained()(CAPTIONS), other(CAPTIONS))
    assert torch.equal(trained()(CAPTIONS), trained()([c.upper() for c in CAPTIONS]))


def test_vocabulary_is_used_and_bounded() -> None:
    few, many = trained(259), trained(320)
    assert few.vocabulary == 259
    assert 259 < many.vocabulary <= 320
    assert many(CAPTIONS).max() < many.vocabulary
    assert many(CAPTIONS).shape[1] < trained(259, context=100)(CAPTIONS).shape[1]


def test_file_and_pickle_keep_everything(tmp_path: Path) -> None:
    tokenizer = trained()
    tokenizer.save(tmp_path / "tokenizer.json")
    for again in (
        BytePairTokenizer.load(tmp_path / "tokenizer.json"),
        pickle.loads(pickle.dumps(tokenizer)),
    ):
        assert (again.context, again.vocabulary, again.end) == (12, tokenizer.vocabulary, 2)
        assert torch.equal(again(CAPTIONS), tokenizer(CAPTIONS))


def test_no_captions_give_no_rows() -> None:
    assert trained()([]).shape == (0, 12)


@pytest.mark.parametrize(("sizes", "message"), [((258, 12), "259"), ((300, 2), "at least one token")])
def test_sizes_that_cannot_work_are_refused(sizes: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained(*sizes)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no tokenizer at"):
        BytePairTokenizer.load(tmp_path / "nothing.json")
    (tmp_path / "broken.json").write_text('{"model": ')
    with pytest.raises(ValueError, match="not a tokenizer file"):
        BytePairTokenizer.load(tmp_path / "broken.json")


def test_a_context_without_room_for_a_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"context=2 is too small: .* need 3"):
        trained(context=2)


def test_captions_that_the_context_cuts() -> None:
    tokenizer = BytePairTokenizer.train(["red"] * 9, 300, 5)
    assert [len(row) for row in tokenizer(["red red red"])] == [5]
    assert tokenizer.too_long(["red", "red red red", "red red red red"]).tolist() == [False, False, True]
