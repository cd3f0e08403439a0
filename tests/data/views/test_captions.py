from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.data import views
from counterpoint.data.views import captions, wordnet
from counterpoint.data.views.captions import TextView
from counterpoint.data.views.stopwords import STOP_WORDS
from counterpoint.networks import BytePairTokenizer
from counterpoint.registry import MissingPackageError, UnknownNameError
from counterpoint.types import View


@dataclass(frozen=True)
class Options:
    stop_words: float = 0.8
    clean_text: bool = False
    synonyms: bool = True
    captions: str = "each"
    paired: str = "weak"
    contrasted: str = "simclr"


DICTIONARY = {"dog": ("hound", "pooch"), "red": ("crimson",)}


def synonyms(word: str) -> tuple[str, ...]:
    return DICTIONARY.get(word, ())


def _keys(n: int, view: str = "text", seed: int = 0) -> np.ndarray:
    return views.key(seed, 0, np.arange(n), view)


def test_the_list_has_the_179_words() -> None:
    assert len(STOP_WORDS) == 179
    assert {"a", "the", "of", "wouldn't", "ve"} <= STOP_WORDS
    assert not STOP_WORDS & {"one", "two", "man", "left", "could"}


def test_plain_draws_every_caption_equally_often() -> None:
    n = 9000
    drawn = Counter(TextView().apply([["one", "two", "three"]] * n, _keys(n)))
    assert set(drawn) == {"one", "two", "three"}
    assert all(abs(count / n - 1 / 3) < 5 * np.sqrt(2 / 9 / n) for count in drawn.values())


def test_views_of_one_example_draw_their_captions_independently() -> None:
    n = 4000
    choices = [["a", "b"]] * n
    first, second = (TextView().apply(choices, _keys(n, name)) for name in ("text.1", "text.2"))
    same = np.mean([x == y for x, y in zip(first, second, strict=True)])
    assert abs(same - 0.5) < 5 * 0.5 / np.sqrt(n)


def test_stop_words_go_with_their_probability() -> None:
    n = 5000
    result = Counter(TextView(stop_words=0.8).apply([["a dog on the beach"]] * n, _keys(n)))
    assert set(result) == {"a dog on the beach", "dog beach"}
    assert abs(result["dog beach"] / n - 0.8) < 5 * 0.4 / np.sqrt(n)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat, and THE dog.", "cat , dog ."),
        ("it's what we don't see", "see"),
        ("we don’t know", "know"),
        ("this is it", "this is it"),
        ("a red-haired man of 3.5 metres", "red-haired man 3.5 metres"),
        ("the", "the"),
        ("", ""),
    ],
)
def test_without_stop_words(text: str, expected: str) -> None:
    assert captions.without_stop_words(text) == expected


def test_one_edit_of_three_kinds_in_proportion() -> None:
    # Twelve different words, one of them with one synonym: the three edits can be told apart from the result.
    words = ["red", *"b c e f g h j k l n p".split()]  # noqa: SIM905 # single letters read better so
    n = 6000
    results = TextView(edit=True, synonyms=synonyms).apply([[" ".join(words)]] * n, _keys(n))
    kinds = Counter()
    for result in results:
        new = result.split()
        if "crimson" in new:
            assert new == ["crimson", *words[1:]]
            kinds["synonym"] += 1
        elif sorted(new) == sorted(words) and new != words:
            assert sum(a != b for a, b in zip(new, words, strict=True)) == 2
            kinds["swap"] += 1
        else:
            assert new == [w for w in words if w in new]
            kinds["deletion"] += 1
    for kind, expected in (("synonym", 0.4), ("swap", 0.4), ("deletion", 0.2)):
        assert abs(kinds[kind] / n - expected) < 5 * np.sqrt(expected * (1 - expected) / n)


def test_without_synonyms_the_other_two_keep_their_proportion() -> None:
    words = ["red", "dog", "by", "sea"]
    n = 6000
    results = TextView(edit=True).apply([[" ".join(words)]] * n, _keys(n))
    swapped = np.mean([sorted(r.split()) == sorted(words) and r.split() != words for r in results])
    assert abs(swapped - 2 / 3) < 5 * np.sqrt(2 / 9 / n)
    assert not any("crimson" in r or "hound" in r for r in results)


def test_a_replaced_word_is_replaced_wherever_it_stands() -> None:
    assert captions.replace_word(["dog", "sees", "dog"], synonyms, [0.9, 0.1], 0.0) == [
        "hound",
        "sees",
        "hound",
    ]
    assert captions.replace_word(["dog", "sees", "dog"], synonyms, [0.9, 0.1], 0.99) == [
        "pooch",
        "sees",
        "pooch",
    ]


def test_a_word_without_synonyms_passes_its_turn_on() -> None:
    # "sees" comes first by its draw, has no synonym, and "dog" is replaced.
    assert captions.replace_word(["dog", "sees"], synonyms, [0.5, 0.1], 0.0) == ["hound", "sees"]
    assert captions.replace_word(["nothing", "here"], synonyms, [0.5, 0.1], 0.0) == ["nothing", "here"]


def test_stop_words_are_not_replaced() -> None:
    assert captions.replace_word(["the", "of"], lambda word: ("wrong",), [0.5, 0.1], 0.0) == ["the", "of"]


def test_swaps_of_all_pairs_are_equally_likely() -> None:
    words = ["a", "b", "c", "d"]
    found = Counter(tuple(captions.swap_words(words, (i + 0.5) / 1200)) for i in range(1200))
    assert len(found) == 6
    assert set(found.values()) == {200}


def test_deletion_drops_a_tenth_and_never_everything() -> None:
    draws = np.random.default_rng(0).random((4000, 10))
    kept = np.mean([len(captions.delete_words(["w"] * 10, row.tolist(), 0.5)) for row in draws])
    assert abs(kept - 9) < 5 * np.sqrt(10 * 0.09 / 4000)
    assert captions.delete_words(["a", "b"], [0.0, 0.0], 0.7) == ["b"]


@given(st.lists(st.text(max_size=12), min_size=1, max_size=4), st.integers(0, 10**6))
def test_no_view_fails_on_odd_text_and_none_makes_words_vanish(texts: list[str], seed: int) -> None:
    for view in (
        TextView(),
        TextView(stop_words=1.0),
        TextView(stop_words=0.5, edit=True, synonyms=synonyms),
        TextView(stop_words=0.5, edit=True, clean=True),
    ):
        (result,) = view.apply([texts], views.key(seed, 0, np.array([0]), "text"))
        candidates = [captions.clean(t) if view.clean else t for t in texts]
        assert result or not all(candidates)
        if len(texts) == 1 and len(candidates[0].split()) == 1 and not view.stop_words:
            assert result == candidates[0]


def test_one_word_captions_are_kept_by_swap_and_deletion() -> None:
    n = 500
    assert set(TextView(edit=True).apply([["dog"]] * n, _keys(n))) == {"dog"}


@given(st.integers(0, 2**32), st.randoms())
def test_texts_do_not_depend_on_the_batch(seed: int, random) -> None:
    choices = [
        ["a red dog", "the dog runs by the sea and is happy to see the red car"],
        ["one"],
        ["a b c d e f g h", "red red dog dog"],
        ["the"],
        ["long " * 40 + "dog"],
    ]
    ids = np.arange(len(choices))
    view = TextView(stop_words=0.5, edit=True, synonyms=synonyms)
    whole = view.apply(choices, views.key(seed, 0, ids, "text"))
    order = list(ids)
    random.shuffle(order)
    again = view.apply([choices[i] for i in order], views.key(seed, 0, np.array(order), "text"))
    assert again == [whole[i] for i in order]
    for i in ids:
        assert view.apply([choices[i]], views.key(seed, 0, ids[i : i + 1], "text")) == [whole[i]]


def test_cleaning_comes_before_the_draws_that_look_at_words() -> None:
    view = TextView(stop_words=1.0, clean=True)
    assert view.apply([["THE &quot;Caf\u00c3\u00a9&quot;\n of Paris"]], _keys(1)) == ['" café " paris']


def test_names_and_options() -> None:
    options = Options(synonyms=False)
    assert views.text("plain", options) == TextView()
    assert views.text("weak", options) == TextView(stop_words=0.8)
    assert views.text("strong", options) == TextView(stop_words=0.8, edit=True)
    assert views.text("plain", replace(options, clean_text=True)) == TextView(clean=True)
    with pytest.raises(UnknownNameError, match="did you mean 'strong'"):
        views.text("stong", options)


def test_bad_input_names_the_argument() -> None:
    with pytest.raises(ValueError, match=r"captions\[1\] is empty"):
        TextView().apply([["a"], []], _keys(2))
    with pytest.raises(ValueError, match="keys must be one per example: got 1 for 2"):
        TextView().apply([["a"], ["b"]], _keys(1))


@pytest.fixture
def _no_wordnet(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("WORDNET", "WNSEARCHDIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(wordnet, "_candidate_paths", lambda: iter(()))
    wordnet.load.cache_clear()


@pytest.mark.usefixtures("_no_wordnet")
def test_a_missing_wordnet_is_found_before_the_run() -> None:
    spec = {"image": View("image", "strong"), "text": View("text", "weak"), "text.1": View("text", "strong")}
    with pytest.raises(MissingPackageError, match=r"pip install 'counterpoint\[words\]'"):
        views.transforms(spec, Options())
    views.transforms(spec, Options(synonyms=False))
    views.transforms({name: spec[name] for name in ("image", "text")}, Options())


def test_unknown_views_are_found_before_the_run() -> None:
    with pytest.raises(UnknownNameError, match="unknown image view 'week': did you mean 'weak'"):
        views.transforms({"image": View("image", "week")}, Options())
    with pytest.raises(UnknownNameError, match="unknown text view 'crop'"):
        views.transforms({"text": View("text", "crop")}, Options())
    with pytest.raises(UnknownNameError, match="modality"):
        views.transforms({"text": View("smell", "plain")}, Options())


@pytest.fixture(scope="module")
def tokenizer() -> BytePairTokenizer:
    return BytePairTokenizer.train(["a red car and a dog", "a tree"], 300, context=12)


def test_masked_words_are_of_the_text_alone(tokenizer: BytePairTokenizer) -> None:
    view = captions.text("masked:40", Options())
    keys = views.key(0, 0, np.arange(3000), "masked")
    both = view([["a red car and a dog", "a tree"]] * 3000, keys, tokenizer, part=keys)
    plain = captions.text("plain", Options())([["a red car and a dog", "a tree"]] * 3000, keys, tokenizer)
    shown, asked = both.unbind(1)
    hidden = asked != captions.NOT_ASKED
    assert torch.equal(torch.where(hidden, asked, shown), plain)
    assert not (hidden & (plain <= tokenizer.end)).any()  # padding, start and end
    assert not (shown[hidden] == tokenizer.end).any()
    words = plain > tokenizer.end
    assert float(hidden.sum() / words.sum()) == pytest.approx(0.4, abs=0.02)
    share = [(shown == tokenizer.vocabulary), (shown == asked)]
    assert [float(s[hidden].double().mean()) for s in share] == pytest.approx([0.8, 0.1], abs=0.02)


def test_a_text_without_a_word_asks_for_nothing(tokenizer: BytePairTokenizer) -> None:
    keys = views.key(0, 0, np.arange(2), "masked")
    shown, asked = captions.masked_words(tokenizer(["", ""]), tokenizer, keys, 1.0).unbind(1)
    assert torch.equal(shown, tokenizer(["", ""]))
    assert (asked == captions.NOT_ASKED).all()
    with pytest.raises(ValueError, match="unknown text view 'masked:0'"):
        captions.text("masked:0", Options())
