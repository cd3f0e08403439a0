from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from counterpoint.data.synthetic.scenes.concepts import CONCEPTS, KINDS
from counterpoint.data.synthetic.scenes.pixels.backgrounds import BACKGROUNDS
from counterpoint.data.synthetic.scenes.scene import COLOURS, RELATIONS, SIZES
from counterpoint.data.synthetic.scenes.words.grammar import Appearance, Grammar, grammar
from counterpoint.data.synthetic.scenes.words.lexicon import LANGUAGES, Case, lexicon
from counterpoint.registry import UnknownNameError


def say(language: str, concept: str, count: int = 1, determiner: str = "a", **rest: object) -> str:
    look = {key: rest.pop(key) for key in ("size", "colour", "facing") if key in rest}
    return grammar(language).phrase(Appearance(concept, **look), count, determiner, **rest).text  # type: ignore[arg-type] # spelled out by the callers


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_is_there_in_every_language(language: str) -> None:
    words = lexicon(language)
    assert set(words.nouns) == set(CONCEPTS)
    assert set(words.kinds) == set(KINDS)
    assert set(words.colours) == set(COLOURS)
    assert set(words.sizes) == set(SIZES)
    assert set(words.relations) == set(RELATIONS)
    assert set(words.backgrounds) == set(BACKGROUNDS)
    assert set(words.look_verb) == set(words.facing) == {"left", "right"}
    assert len(words.numbers) == len(set(words.numbers)) == 26
    assert all(isinstance(number, str) for number in words.numbers)  # YAML reads German's zero as nothing
    assert [len(row) for row in words.positions] == [3, 3, 3]
    genders = {"en": {""}, "de": {"m", "f", "n"}, "fr": {"m", "f"}, "es": {"m", "f"}}[language]
    assert {noun.gender for noun in (*words.nouns.values(), *words.kinds.values())} == genders
    adjectives = [
        *words.colours.values(),
        *words.facing.values(),
        *(w for s in words.sizes.values() for w in s),
    ]
    assert {len(forms) for forms in adjectives} <= {1, 4}
    assert {frame.case for frame in (*words.frames, *words.openings)} <= set(get_args(Case))


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_tell_apart_what_differs(language: str) -> None:
    words = lexicon(language)
    for forms in (words.nouns, words.colours, words.relations, words.backgrounds):
        assert len({value[0] for value in forms.values()}) == len(forms)
    assert len({place for row in words.positions for place in row}) == 9


def test_an_unknown_language_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown language 'it'.*de, en, es, fr"):
        grammar("it")


@pytest.mark.parametrize("count", [-1, 26])
def test_a_count_without_a_word_is_an_error(count: int) -> None:
    with pytest.raises(ValueError, match=f"count must be 0 to 25, got {count}"):
        say("en", "cat", count)


def test_a_or_an_goes_by_the_next_word() -> None:
    an = {"elephant", "apple", "umbrella", "anchor"}
    assert {concept for concept in CONCEPTS if say("en", concept).startswith("an ")} == an
    assert say("en", "cat", colour="orange") == "an orange cat"
    assert say("en", "elephant", colour="red") == "a red elephant"
    assert say("en", "elephant", size="large", colour="orange") == "a large orange elephant"


@pytest.mark.parametrize(
    ("concept", "plural"),
    [
        ("mouse", "mice"),
        ("sheep", "sheep"),
        ("fish", "fish"),
        ("bus", "buses"),
        ("box", "boxes"),
        ("scarf", "scarves"),
        ("dress", "dresses"),
        ("cactus", "cacti"),
        ("strawberry", "strawberries"),
        ("butterfly", "butterflies"),
        ("key", "keys"),
        ("teddy bear", "teddy bears"),
    ],
)
def test_english_plurals(concept: str, plural: str) -> None:
    assert say("en", concept, 2) == f"two {plural}"


def test_english_determiners() -> None:
    assert say("en", "cat", 0, colour="red") == "no red cats"
    assert say("en", "cat", determiner="one") == "one cat"
    assert say("en", "cat", determiner="the") == "the cat"
    assert say("en", "cat", 3, "the") == "the three cats"
    assert say("en", "cat", 2, "") == "cats"
    assert say("en", "cat", more=True, colour="red") == "another red cat"
    assert say("en", "cat", 2, more=True) == "two other cats"
    assert say("en", "cat", size="medium", facing="left") == "a medium-sized cat facing left"


GERMAN = {  # after ein, after der, without an article; nominative, accusative, dative
    "dog": (
        ("ein kleiner Hund", "einen kleinen Hund", "einem kleinen Hund"),
        ("der kleine Hund", "den kleinen Hund", "dem kleinen Hund"),
        ("kleiner Hund", "kleinen Hund", "kleinem Hund"),
    ),
    "cat": (
        ("eine kleine Katze", "eine kleine Katze", "einer kleinen Katze"),
        ("die kleine Katze", "die kleine Katze", "der kleinen Katze"),
        ("kleine Katze", "kleine Katze", "kleiner Katze"),
    ),
    "horse": (
        ("ein kleines Pferd", "ein kleines Pferd", "einem kleinen Pferd"),
        ("das kleine Pferd", "das kleine Pferd", "dem kleinen Pferd"),
        ("kleines Pferd", "kleines Pferd", "kleinem Pferd"),
    ),
    "monkey": (  # one of the nouns that decline in the singular
        ("ein kleiner Affe", "einen kleinen Affen", "einem kleinen Affen"),
        ("der kleine Affe", "den kleinen Affen", "dem kleinen Affen"),
        ("kleiner Affe", "kleinen Affen", "kleinem Affen"),
    ),
}
GERMAN_PLURAL = {  # after a number, after die
    "dog": (
        ("zwei kleine Hunde", "zwei kleine Hunde", "zwei kleinen Hunden"),
        ("die zwei kleinen Hunde", "die zwei kleinen Hunde", "den zwei kleinen Hunden"),
    ),
    "car": (  # no n after s
        ("zwei kleine Autos", "zwei kleine Autos", "zwei kleinen Autos"),
        ("die zwei kleinen Autos", "die zwei kleinen Autos", "den zwei kleinen Autos"),
    ),
}
CASES: tuple[Case, ...] = ("nominative", "accusative", "dative")


@pytest.mark.parametrize("concept", GERMAN)
def test_german_singular(concept: str) -> None:
    for determiner, forms in zip(("a", "the", ""), GERMAN[concept], strict=True):
        said = tuple(say("de", concept, 1, determiner, size="small", case=case) for case in CASES)
        assert said == forms


@pytest.mark.parametrize("concept", GERMAN_PLURAL)
def test_german_plural(concept: str) -> None:
    for determiner, forms in zip(("a", "the"), GERMAN_PLURAL[concept], strict=True):
        said = tuple(say("de", concept, 2, determiner, size="small", case=case) for case in CASES)
        assert said == forms


def test_german_datives_of_the_plural() -> None:
    tricky = {
        "apple": "Äpfeln",
        "key": "Schlüsseln",
        "cat": "Katzen",
        "balloon": "Luftballons",
        "cactus": "Kakteen",
    }
    for concept, plural in tricky.items():
        assert say("de", concept, 3, case="dative") == f"drei {plural}"


def test_german_no_and_another() -> None:
    assert say("de", "cat", 0, size="small") == "keine kleinen Katzen"
    assert say("de", "cat", 0, size="small", case="dative") == "keinen kleinen Katzen"
    assert say("de", "dog", more=True, colour="red") == "ein weiterer roter Hund"
    assert say("de", "dog", 2, more=True, colour="red", case="dative") == "zwei weiteren roten Hunden"
    assert say("de", "dog", facing="left") == "ein nach links schauender Hund"


@pytest.mark.parametrize(
    ("count", "determiner", "said"),
    [
        (1, "a", ("un petit éléphant vert", "une petite ancre verte")),
        (2, "a", ("deux petits éléphants verts", "deux petites ancres vertes")),
        (0, "a", ("aucun petit éléphant vert", "aucune petite ancre verte")),
        (1, "the", ("le petit éléphant vert", "la petite ancre verte")),
        (3, "the", ("les trois petits éléphants verts", "les trois petites ancres vertes")),
        (21, "a", ("vingt et un petits éléphants verts", "vingt et une petites ancres vertes")),
    ],
)
def test_french_agreement(count: int, determiner: str, said: tuple[str, str]) -> None:
    for concept, phrase in zip(("elephant", "anchor"), said, strict=True):
        assert say("fr", concept, count, determiner, size="small", colour="green") == phrase


def test_french_elision() -> None:
    assert say("fr", "elephant", determiner="the") == "l'éléphant"
    assert say("fr", "scarf", determiner="the", colour="red") == "l'écharpe rouge"
    assert say("fr", "helicopter", determiner="the") == "l'hélicoptère"  # silent h
    assert say("fr", "hamburger", determiner="the") == "le hamburger"  # aspirated h
    assert say("fr", "tree", determiner="the", size="medium") == "l'arbre de taille moyenne"
    assert say("fr", "cat", determiner="the") == "le chat"


def test_french_adjectives_that_stay_as_they_are() -> None:
    assert say("fr", "apple", 2, colour="orange") == "deux pommes orange"
    assert say("fr", "apple", 2, colour="brown") == "deux pommes marron"
    assert say("fr", "mouse", 2, colour="grey") == "deux souris grises"
    assert say("fr", "horse", 2, size="large", more=True) == "deux autres grands chevaux"
    assert say("fr", "cow", facing="right") == "une vache tournée vers la droite"


@pytest.mark.parametrize(
    ("count", "determiner", "said"),
    [
        (1, "a", ("un lápiz rojo pequeño", "una vaca roja pequeña", "un ancla roja pequeña")),
        (2, "a", ("dos lápices rojos pequeños", "dos vacas rojas pequeñas", "dos anclas rojas pequeñas")),
        (0, "a", ("ningún lápiz rojo pequeño", "ninguna vaca roja pequeña", "ningún ancla roja pequeña")),
        (1, "the", ("el lápiz rojo pequeño", "la vaca roja pequeña", "el ancla roja pequeña")),
        (
            2,
            "the",
            (
                "los dos lápices rojos pequeños",
                "las dos vacas rojas pequeñas",
                "las dos anclas rojas pequeñas",
            ),
        ),
        (
            21,
            "a",
            (
                "veintiún lápices rojos pequeños",
                "veintiuna vacas rojas pequeñas",
                "veintiuna anclas rojas pequeñas",
            ),
        ),
    ],
)
def test_spanish_agreement(count: int, determiner: str, said: tuple[str, ...]) -> None:
    for concept, phrase in zip(("pencil", "cow", "anchor"), said, strict=True):
        assert say("es", concept, count, determiner, size="small", colour="red") == phrase


def test_spanish_another_goes_before_the_number() -> None:
    assert say("es", "cat", more=True) == "otro gato"
    assert say("es", "anchor", more=True) == "otra ancla"
    assert say("es", "cow", 2, more=True) == "otras dos vacas"


@pytest.mark.parametrize(
    ("language", "before", "concept", "determiner", "written"),
    [
        ("en", "to the left of", "cat", "the", "to the left of the cat"),
        ("de", "links von", "dog", "the", "links vom Hund"),
        ("de", "links von", "cat", "the", "links von der Katze"),
        ("de", "in", "window", "the", "im Fenster"),
        ("de", "in", "window", "a", "in einem Fenster"),
        ("fr", "à gauche de", "cat", "the", "à gauche du chat"),
        ("fr", "à gauche de", "cow", "the", "à gauche de la vache"),
        ("fr", "à gauche de", "tree", "the", "à gauche de l'arbre"),
        ("fr", "à gauche de", "cat", "a", "à gauche d'un chat"),
        ("fr", "à gauche de", "cow", "a", "à gauche d'une vache"),
        ("fr", "sous", "cat", "the", "sous le chat"),
        ("fr", ", ainsi que", "cow", "a", ", ainsi qu'une vache"),
        ("es", "detrás de", "cat", "the", "detrás del gato"),
        ("es", "detrás de", "cow", "the", "detrás de la vaca"),
        ("es", "detrás de", "anchor", "the", "detrás del ancla"),
        ("es", "detrás de", "cat", "a", "detrás de un gato"),
    ],
)
def test_contractions(language: str, before: str, concept: str, determiner: str, written: str) -> None:
    words = grammar(language)
    phrase = words.phrase(Appearance(concept), 1, determiner, case="dative")  # type: ignore[arg-type] # a parameter
    lead, swallowed = words.attach(before, phrase)
    assert lead + phrase.text[swallowed:] == written


def test_plural_contractions() -> None:
    words = grammar("fr")
    phrase = words.phrase(Appearance("cat"), 2, "the")
    lead, swallowed = words.attach("à gauche de", phrase)
    assert lead + phrase.text[swallowed:] == "à gauche des deux chats"


@pytest.mark.parametrize(
    ("language", "concept", "two", "one"),
    [
        ("en", "cat", "two", "one"),
        ("de", "dog", "zwei", "einer"),
        ("de", "cat", "zwei", "eine"),
        ("de", "horse", "zwei", "eines"),
        ("fr", "cow", "deux", "une"),
        ("es", "cow", "dos", "una"),
        ("es", "dog", "dos", "uno"),
    ],
)
def test_numbers_without_a_noun(language: str, concept: str, two: str, one: str) -> None:
    words = grammar(language)
    noun = words.lexicon.nouns[concept]
    assert (words.pronoun(noun, 2), words.pronoun(noun, 1)) == (two, one)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_concept_can_be_said_in_every_way(language: str) -> None:
    words: Grammar = grammar(language)
    for concept, count, determiner, case in product(CONCEPTS, (0, 1, 2), ("a", "one", "the", ""), CASES):
        if count == 0 and determiner in ("the", ""):
            continue
        phrase = words.phrase(Appearance(concept, "large", "purple", "left"), count, determiner, case=case)  # type: ignore[arg-type] # a product
        roles = [part.role for part in phrase.parts]
        assert sorted(set(roles) - {"count"}) == ["colour", "facing", "noun", "size"]
        assert "  " not in phrase.text
        assert phrase.text == phrase.text.strip()
        noun = next(phrase.text[part.start : part.end] for part in phrase.parts if part.role == "noun")
        forms = words.lexicon.nouns[concept]
        assert noun.startswith((forms.singular, forms.plural))


def test_another_is_needed_where_words_could_mean_was_spoken_of() -> None:
    small_red, red, cat = Appearance("cat", "small", "red"), Appearance("cat", None, "red"), Appearance("cat")
    assert cat.covers(small_red)
    assert red.covers(small_red)
    assert not small_red.covers(red)
    assert not Appearance("dog").covers(cat)
