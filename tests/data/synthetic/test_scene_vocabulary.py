"""The words of captions, and the concepts that a text names."""

from __future__ import annotations

import pytest

from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.words import captions
from counterpoint.data.synthetic.scenes.words.lexicon import LANGUAGES, lexicon
from counterpoint.data.synthetic.scenes.words.referring import spoken
from counterpoint.data.synthetic.scenes.words.vocabulary import concepts_in, vocabulary, words_in
from data.synthetic.random_scenes import random_scene


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_every_caption_is_known(language: str) -> None:
    known = vocabulary(language)
    for scene in map(random_scene, range(60)):
        draws = Rng(0, scene.index)
        texts = [captions.short(scene, language, draws).text]
        texts += [sentence.text for sentence in captions.long(scene, language, draws)]
        missing = {word for text in texts for word in words_in(text)} - known
        assert not missing


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_name_what_they_are_about(language: str) -> None:
    for scene in map(random_scene, range(60)):
        shown = {scene.things[place].concept for place in spoken(scene)}
        assert concepts_in(captions.short(scene, language).text, language) == shown


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_noun_means_one_concept(language: str) -> None:
    for concept, noun in lexicon(language).nouns.items():
        for form in (noun.singular, noun.plural):
            assert concepts_in(form, language) == {concept}


def test_unknown_language() -> None:
    for ask in (vocabulary, lambda language: concepts_in("cat", language)):
        with pytest.raises(ValueError, match="unknown language 'nl'"):
            ask("nl")
