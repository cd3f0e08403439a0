"""PMT2I: the prompt to the letter, and its controls."""

from __future__ import annotations

import pytest

from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.generation import LANGUAGES, SETS, in_languages, repeated, variants
from counterpoint.registry import UnknownNameError

ENGLISH = "a green bench and a blue bowl"
TRANSLATIONS = {
    "es": "un banco verde y un cuenco azul",
    "ru": "зеленая скамейка и синяя миска",
    "fr": "un banc vert et un bol bleu",
    "zh": "一个绿色的长凳和一个蓝色的碗",
    "de": "eine grüne Bank und eine blaue Schale",
    "it": "una panchina verde e una ciotola blu",
}


def test_the_prompt_of_five_translations_to_the_letter() -> None:
    assert in_languages(ENGLISH, TRANSLATIONS, SETS[4]) == (
        "English: a green bench and a blue bowl\n"
        "Spanish: un banco verde y un cuenco azul\n"
        "Russian: зеленая скамейка и синяя миска\n"
        "French: un banc vert et un bol bleu\n"
        "Chinese: 一个绿色的长凳和一个蓝色的碗\n"
        "German: eine grüne Bank und eine blaue Schale"
    )


def test_the_sets_of_the_paper() -> None:
    assert [len(languages) for languages in SETS] == [1, 2, 3, 4, 5, 6]
    assert SETS[0] == ("de",)
    assert SETS[1] == ("ru", "fr")
    assert {code for languages in SETS for code in languages} == set(LANGUAGES) - {"en"}


def test_without_translations_it_is_the_plain_description() -> None:
    assert in_languages(ENGLISH, TRANSLATIONS, ()) == ENGLISH


def test_the_control_has_as_many_lines_and_no_other_language() -> None:
    for languages in SETS:
        prompt, control = in_languages(ENGLISH, TRANSLATIONS, languages), repeated(ENGLISH, len(languages))
        assert prompt.count("\n") == control.count("\n") == len(languages)
        assert prompt.splitlines()[0] == control.splitlines()[0]
        assert set(control.splitlines()) == {f"English: {ENGLISH}"}


def test_variants_are_plain_description_and_sets_can_be_made() -> None:
    assert len(variants(ENGLISH, TRANSLATIONS)) == 7
    some = {code: TRANSLATIONS[code] for code in ("de", "fr", "es")}
    assert variants(ENGLISH, some) == (
        ENGLISH,
        in_languages(ENGLISH, some, ("de",)),
        in_languages(ENGLISH, some, ("fr", "de", "es")),
    )
    assert variants(ENGLISH, {}) == (ENGLISH,)


def test_captions_of_scenes_are_translations() -> None:
    world = Scenes.parse("scenes:tiny,train=1,validation=1,test=1,languages=en+de+fr+es")
    english, *others = world.captions(0)
    translations = dict(zip(world.preset.languages[1:], others, strict=True))
    lines = in_languages(english, translations, ("de", "fr", "es")).splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["English", "German", "French", "Spanish"]


def test_bad_prompts() -> None:
    with pytest.raises(UnknownNameError, match="unknown language 'nl'"):
        in_languages(ENGLISH, TRANSLATIONS, ["nl"])
    with pytest.raises(ValueError, match="no translation into ru, it: give it"):
        in_languages(ENGLISH, {"de": "x"}, ["ru", "de", "it"])
    for languages in (["de", "de"], ["en", "de"]):
        with pytest.raises(ValueError, match="English stands first by itself"):
            in_languages(ENGLISH, TRANSLATIONS, languages)
    for text in ("", "  ", "zwei\nZeilen"):
        with pytest.raises(ValueError, match="the German text must be one line"):
            in_languages(ENGLISH, {"de": text}, ["de"])
    with pytest.raises(ValueError, match="the English text must be one line"):
        in_languages("two\nlines", TRANSLATIONS, ())
