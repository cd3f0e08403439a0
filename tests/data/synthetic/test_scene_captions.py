from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest

from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.concepts import CONCEPTS, FACED
from counterpoint.data.synthetic.scenes.layout.compose import compose
from counterpoint.data.synthetic.scenes.presets import PRESETS
from counterpoint.data.synthetic.scenes.scene import (
    OPPOSITE,
    RELATIONS,
    UNIT,
    Relation,
    Scene,
    Thing,
    relation_holds,
)
from counterpoint.data.synthetic.scenes.words.captions import Caption, long, phrase, short, tags
from counterpoint.data.synthetic.scenes.words.lexicon import LANGUAGES, lexicon
from counterpoint.registry import UnknownNameError
from data.synthetic.random_scenes import random_scene

SEEDS = range(25)
CAT = Thing("cat", "red", "medium", 250, 200, 500)
DOG = Thing("dog", None, "small", 150, 800, 500)


def worded(seed: int) -> tuple[Scene, Rng]:
    return random_scene(seed), Rng(0, seed, "words")


# What words mean, read back from the text alone.


@cache
def _number_words(language: str) -> dict[str, int]:
    found = {word: number for number, word in enumerate(lexicon(language).numbers)}
    found |= dict.fromkeys(("a", "an", "another", "un", "une", "una", "otro", "otra", "autre", "uno"), 1)
    found |= dict.fromkeys(("ein", "eine", "einen", "einem", "einer", "eines", "one"), 1)
    return found


@cache
def _meaning(role: str, words: str, language: str) -> object:
    """Return the concept, colour, size … that some words of a caption name."""
    lexica = lexicon(language)
    if role == "noun":
        # A German dative plural has an n more.
        fits = {
            c for c, n in lexica.nouns.items() if words in (*n[:2], n.irregular) or words == n.plural + "n"
        }
    elif role in ("colour", "facing"):
        forms = (
            lexica.colours
            if role == "colour"
            else {f: (*lexica.facing[f], *lexica.look_verb[f]) for f in lexica.look_verb}
        )
        fits = {name for name, all_ in forms.items() if _inflected(words, all_, language)}
    else:
        fits = {
            size for size, ways in lexica.sizes.items() if any(_inflected(words, w, language) for w in ways)
        }
    assert len(fits) == 1, (role, words, fits)
    return fits.pop()


def _inflected(words: str, forms: tuple[str, ...], language: str) -> bool:
    endings = ("", "e", "er", "es", "en", "em") if language == "de" else ("",)
    return any(words == form + ending for form in forms for ending in endings)


def assert_true_of(caption: Caption, scene: Scene, language: str) -> None:
    """Every mention's words hold of every thing that it speaks of."""
    lexica, numbers = lexicon(language), _number_words(language)
    for mention in caption.mentions:
        words = caption.text[mention.start : mention.end]
        words = words if mention.start or language == "de" else words[0].lower() + words[1:]
        things = [scene.things[place] for place in mention.things]
        assert words == words.strip() != ""
        if mention.role == "noun":
            assert {_meaning("noun", words, language)} == {thing.concept for thing in things}
        elif mention.role in ("colour", "size", "facing"):
            assert {_meaning(mention.role, words, language)} == {
                getattr(thing, mention.role) for thing in things
            }
        elif mention.role == "count":
            said = [numbers[word] for word in words.lower().split() if word in numbers]
            assert said in ([len(things)], []), words  # "other", "weitere" say no number of their own
            assert said or words.startswith(("weiter", "autre")), words
        elif mention.role == "position":
            for thing in things:
                row, column = min(2, thing.y * 3 // UNIT), min(2, thing.x * 3 // UNIT)
                assert words in (lexica.positions[row][column], lexica.columns[column])
        elif mention.role == "background":
            assert words == lexica.backgrounds[scene.background][0]


def relations_said(caption: Caption, language: str) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """Kind, subjects and objects of each relation, from the words and the phrases on both sides of them."""
    contracted = {
        "en": {},
        "de": {"vom": "von", "im": "in"},
        "fr": {"du": "de", "des": "de", "d'": "de"},
        "es": {"del": "de"},
    }
    kinds = {way: kind for kind, ways in lexicon(language).relations.items() for way in ways}
    found, subject = [], ()
    phrases = [m for m in caption.mentions if m.role == "phrase"]
    for mention in caption.mentions:
        if mention.role != "relation":
            continue
        words = caption.text[mention.start : mention.end]
        for short_form, full in contracted[language].items():
            words = re.sub(rf"(?<!\w){re.escape(short_form)}$", full, words)
        object = next(m.things for m in phrases if m.start >= mention.end)
        subject = tuple(place for place in mention.things if place not in object)
        found.append((kinds[words], subject, object))
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_short_captions_are_true(language: str) -> None:
    related = 0
    for seed in SEEDS:
        scene, draws = worded(seed)
        for exact in ((), ("colour", "size", "facing")):
            caption = short(scene, language, draws, exact)
            assert_true_of(caption, scene, language)
            said = relations_said(caption, language)
            related += len(said)
            for kind, subjects, objects in said:
                for i in subjects:
                    for j in objects:
                        assert relation_holds(kind, scene.things[i], scene.things[j], hidden=i < j), (
                            caption.text
                        )
    assert related > len(SEEDS) / 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_long_captions_are_true(language: str) -> None:
    for seed in SEEDS:
        scene, draws = worded(seed)
        sentences = long(scene, language, draws)
        for sentence in sentences:
            assert_true_of(sentence, scene, language)
            for kind, subjects, objects in relations_said(sentence, language):
                for i in subjects:
                    for j in objects:
                        assert relation_holds(kind, scene.things[i], scene.things[j], hidden=i < j)
        told = {(k, i, j) for s in sentences for k, a, b in relations_said(s, language) for i in a for j in b}
        told |= {(OPPOSITE[kind], j, i) for kind, i, j in told if kind in OPPOSITE}
        assert {(r.kind, r.subject, r.object) for r in scene.relations} <= told


@pytest.mark.parametrize("language", LANGUAGES)
def test_short_captions_speak_of_everything_once_of_no_clutter(language: str) -> None:
    for seed in SEEDS:
        scene, draws = worded(seed)
        caption = short(scene, language, draws)
        mentioned = Counter(place for m in caption.mentions if m.role == "phrase" for place in m.things)
        spoken = [i for i, thing in enumerate(scene) if not thing.clutter] or range(len(scene.things))
        assert mentioned == Counter(spoken)


@pytest.mark.parametrize("name", PRESETS)
def test_captions_of_every_world_are_true(name: str) -> None:
    preset = PRESETS[name]
    for index in range(12):
        scene = compose(preset.config, preset.seed, index)
        language, draws = LANGUAGES[index % 4], Rng(0, index)
        for caption in (short(scene, language, draws), *long(scene, language, draws)):
            assert_true_of(caption, scene, language)
            for kind, subjects, objects in relations_said(caption, language):
                for i in subjects:
                    for j in objects:
                        assert relation_holds(kind, scene.things[i], scene.things[j], hidden=i < j)


def test_counts_read_from_the_words_alone_are_those_of_the_scene() -> None:
    numbers = _number_words("en") | {"two other": 2}
    forms = {form: concept for concept, noun in lexicon("en").nouns.items() for form in noun[:2]}
    names = "|".join(sorted(map(re.escape, forms), key=len, reverse=True))
    number = "|".join(sorted(map(re.escape, numbers), key=len, reverse=True))
    for seed in SEEDS:
        scene, draws = worded(seed)
        scene = replace(scene, things=tuple(replace(thing, clutter=False) for thing in scene))
        text = short(scene, "en", draws).text.removeprefix("a picture of ").removeprefix("an image with ")
        counted: Counter[str] = Counter()
        for said, concept in re.findall(rf"\b({number})\b[a-z -]*?\b({names})\b", text):
            counted[forms[concept]] += numbers[said]
        assert counted == Counter(scene.counts()), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_are_plain_words(language: str) -> None:
    """Letters, spaces, apostrophes, hyphens, commas; a sentence ends in one full stop: all of it can be spoken."""
    for seed in SEEDS:
        scene, draws = worded(seed)
        assert re.fullmatch(r"[^\W\d_]([^\W\d_]|[ ',-])*", short(scene, language, draws).text)
        for sentence in long(scene, language, draws):
            assert re.fullmatch(r"[^\W\d_]([^\W\d_]|[ ',-])*\.", sentence.text)
            assert sentence.text[0].isupper()
            assert "  " not in sentence.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_same_draws_give_the_same_words_and_others_vary(language: str) -> None:
    scene = Scene(0, (CAT, DOG), (Relation("below", 0, 1),))
    assert short(scene, language, Rng(0, 3)) == short(scene, language, Rng(0, 3))
    assert long(scene, language, Rng(0, 3)) == long(scene, language, Rng(0, 3))
    assert len({short(scene, language, Rng(0, i)).text for i in range(60)}) >= 6
    assert len({long(scene, language, Rng(0, i))[0].text for i in range(60)}) >= 3


def test_spans_are_those_of_the_words() -> None:
    scene = Scene(0, (CAT, DOG, DOG), (Relation("left of", 0, 1), Relation("left of", 0, 2)))
    caption = short(scene)
    assert caption.text == "a red cat to the left of two small dogs"
    assert [(caption.text[m.start : m.end], m.role, m.things) for m in caption.mentions] == [
        ("a red cat", "phrase", (0,)),
        ("a", "count", (0,)),
        ("red", "colour", (0,)),
        ("cat", "noun", (0,)),
        ("to the left of", "relation", (0, 1, 2)),
        ("two small dogs", "phrase", (1, 2)),
        ("two", "count", (1, 2)),
        ("small", "size", (1, 2)),
        ("dogs", "noun", (1, 2)),
    ]
    assert caption.things == (0, 1, 2)


def test_spans_where_an_article_melts_into_a_preposition() -> None:
    sentence = long(Scene(0, (CAT, DOG), (Relation("left of", 0, 1),)), "fr")[-2]
    assert sentence.text == "Le chat est à gauche du chien."
    said = [(sentence.text[m.start : m.end], m.role) for m in sentence.mentions]
    assert said == [
        ("Le chat", "phrase"),
        ("chat", "noun"),
        ("à gauche du", "relation"),
        ("chien", "phrase"),
        ("chien", "noun"),
    ]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "a red cat to the left of a small dog"),
        ("de", "eine rote Katze links von einem kleinen Hund"),
        ("fr", "un chat rouge à gauche d'un petit chien"),
        ("es", "un gato rojo a la izquierda de un perro pequeño"),
    ],
)
def test_the_plainest_caption(language: str, text: str) -> None:
    assert short(Scene(0, (CAT, DOG), (Relation("left of", 0, 1),)), language).text == text


RELATED = {  # a cat … a dog
    "en": ("to the left of a", "to the right of a", "above a", "below a", "inside a", "behind a"),
    "de": ("links von einem", "rechts von einem", "über einem", "unter einem", "in einem", "hinter einem"),
    "fr": ("à gauche d'un", "à droite d'un", "au-dessus d'un", "en dessous d'un", "dans un", "derrière un"),
    "es": (
        *("a la izquierda de un", "a la derecha de un", "encima de un", "debajo de un"),
        *("dentro de un", "detrás de un"),
    ),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_relation(language: str) -> None:
    for kind, words in zip(RELATIONS, RELATED[language], strict=True):
        plain = replace(CAT, colour=None), replace(DOG, size="medium")
        text = short(Scene(0, plain, (Relation(kind, 0, 1),)), language).text
        noun = {"en": "dog", "de": "Hund", "fr": "chien", "es": "perro"}[language]
        assert text.endswith(f" {words} {noun}")


@pytest.mark.parametrize(
    ("language", "first", "last"),
    [
        ("en", "at the top left", "at the bottom right"),
        ("de", "oben links", "unten rechts"),
        ("fr", "en haut à gauche", "en bas à droite"),
        ("es", "arriba a la izquierda", "abajo a la derecha"),
    ],
)
def test_corners(language: str, first: str, last: str) -> None:
    corners = replace(DOG, x=100, y=100), replace(DOG, x=900, y=900)
    text = long(Scene(0, corners), language)[1].text
    assert f" {first} " in text
    assert text.endswith(f" {last}.")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "an empty picture"),
        ("de", "ein leeres Bild"),
        ("fr", "une image vide"),
        ("es", "una imagen vacía"),
    ],
)
def test_nothing(language: str, text: str) -> None:
    assert short(Scene(0, ()), language, Rng(0, 0)) == Caption(text)
    first = long(Scene(0, ()), language)[0]
    assert first.text == lexicon(language).nothing
    assert first.things == ()


def test_things_that_are_alike_are_counted_together() -> None:
    apple = Thing("apple", None, "medium", 250, 500, 500)
    assert short(Scene(0, (apple,) * 3)).text == "three apples"
    blue = replace(CAT, colour="blue")
    assert short(Scene(0, (CAT, blue, CAT))).text == "two red cats and a blue cat"
    assert short(Scene(0, (CAT, replace(CAT, colour=None)))).text == "a red cat and another cat"


def test_many_kinds_of_one_concept_counted_without_sets_apart() -> None:
    cats = tuple(replace(CAT, colour=colour) for colour in ("red", "blue", "green", "grey"))
    assert short(Scene(0, cats)).text == "four cats"
    assert (
        short(Scene(0, cats), exact=("colour",)).text == "a red cat, a blue cat, a green cat and a grey cat"
    )
    small = tuple(replace(cat, size="small") for cat in cats)
    assert short(Scene(0, small)).text == "four small cats"


def test_caption_states_relation_of_group_where_holds_for_all_of() -> None:
    far, near = replace(CAT, x=150), replace(CAT, x=900)
    dog = replace(DOG, x=500)
    scene = Scene(0, (far, dog, near), (Relation("left of", 0, 1),))
    assert short(scene).text == "a red cat to the left of a small dog, and another red cat"
    both = Scene(0, (far, far, dog), (Relation("left of", 0, 2),))
    assert short(both).text == "two red cats to the left of a small dog"


def test_a_thing_related_to_one_like_it() -> None:
    scene = Scene(0, (CAT, replace(CAT, x=800)), (Relation("left of", 0, 1),))
    assert short(scene).text == "a red cat to the left of another red cat"
    assert short(scene, "es").text == "un gato rojo a la izquierda de otro gato rojo"
    assert long(scene)[-2].text == "A red cat is to the left of another red cat."


def test_a_relation_is_not_told_both_ways_in_a_long_caption() -> None:
    scene = Scene(0, (CAT, DOG), (Relation("left of", 0, 1), Relation("right of", 1, 0)))
    assert [s.text for s in long(scene)[3:-1]] == ["The cat is to the left of the dog."]


def test_two_relations_of_one_thing() -> None:
    mouse = Thing("mouse", None, "medium", 250, 200, 850)
    scene = Scene(0, (CAT, DOG, mouse), (Relation("left of", 0, 1), Relation("above", 0, 2)))
    assert short(scene).text == "a red cat to the left of a small dog and above a mouse"
    apart = Scene(0, (CAT, DOG, mouse, DOG), (Relation("left of", 0, 1), Relation("left of", 2, 3)))
    assert (
        short(apart).text
        == "a red cat to the left of a small dog, and a mouse to the left of another small dog"
    )


def test_verbs_agree() -> None:
    two = Scene(0, (CAT, DOG))
    texts = {short(two, "en", Rng(0, i)).text for i in range(60)}
    assert "there is a red cat and a small dog" in texts
    assert not any("there are" in text for text in texts)
    assert any(
        t == "here are two red cats"
        for t in (short(Scene(0, (CAT, CAT)), "en", Rng(0, i)).text for i in range(60))
    )
    german = {short(two, "de", Rng(0, i)).text for i in range(60)}
    assert "hier sind eine rote Katze und ein kleiner Hund" in german


def test_frames_ask_for_their_case() -> None:
    texts = {short(Scene(0, (DOG,)), "de", Rng(0, i)).text for i in range(60)}
    assert texts == {
        "ein kleiner Hund",
        "ein Bild von einem kleinen Hund",
        "es gibt einen kleinen Hund",
        "ein Bild mit einem kleinen Hund",
        "hier ist ein kleiner Hund",
        "man sieht einen kleinen Hund",
    }


def test_exact_attributes_are_said() -> None:
    bus = Thing("bus", None, "medium", 250, 500, 500)
    scene = Scene(0, (CAT, bus))
    assert short(scene, exact=("size",)).text == "a medium-sized red cat and a medium-sized bus"
    assert short(scene, exact=("facing",)).text == "a red cat facing left and a bus"  # a bus has no face
    assert phrase(CAT, exact=("facing",)) == "a red cat facing left"


def test_only_animals_drawn_from_the_side_face_anywhere() -> None:
    assert {name for name, concept in CONCEPTS.items() if concept.kind == "animal"} >= FACED
    assert not FACED & {
        "butterfly",
        "snail",
        "snake",
        "fish",
    }  # the artists disagree, or draw them from above
    facing = re.compile("fac(e|es|ing) ")
    for concept in CONCEPTS:
        sentences = long(Scene(0, (Thing(concept, None, "small", 150, 500, 500),)))
        assert any(facing.search(sentence.text) for sentence in sentences) == (concept in FACED)


def test_each_sentence_of_a_long_caption_speaks_of_its_things() -> None:
    mouse = Thing("mouse", "grey", "small", 150, 100, 100, facing="right")
    scene = Scene(0, (CAT, DOG, mouse), (Relation("left of", 0, 1),), "beach")
    assert [(sentence.text, sentence.things) for sentence in long(scene)] == [
        ("The picture shows a cat, a dog and a mouse.", (0, 1, 2)),
        ("The red cat is on the left and faces left.", (0,)),
        ("The small dog is on the right and faces left.", (1,)),
        ("The small grey mouse is at the top left and faces right.", (2,)),
        ("The cat is to the left of the dog.", (0, 1)),
        ("The background is a beach by the sea.", ()),
    ]


def test_the_same_long_caption_in_the_other_languages() -> None:
    scene = Scene(0, (CAT, DOG, DOG), (Relation("left of", 0, 1), Relation("left of", 0, 2)), "meadow")
    assert " ".join(sentence.text for sentence in long(scene, "de")) == (
        "Das Bild zeigt eine Katze und zwei Hunde. Die rote Katze ist links und schaut nach links. "
        "Die zwei kleinen Hunde sind rechts und schauen nach links. Die Katze ist links von den zwei Hunden. "
        "Der Hintergrund ist eine Wiese unter blauem Himmel."
    )
    assert " ".join(sentence.text for sentence in long(scene, "fr")) == (
        "L'image montre un chat et deux chiens. Le chat rouge est à gauche et regarde vers la gauche. "
        "Les deux petits chiens sont à droite et regardent vers la gauche. "
        "Le chat est à gauche des deux chiens. Le fond est une prairie sous un ciel bleu."
    )
    assert " ".join(sentence.text for sentence in long(scene, "es")) == (
        "La imagen muestra un gato y dos perros. El gato rojo está a la izquierda y mira hacia la izquierda. "
        "Los dos perros pequeños están a la derecha y miran hacia la izquierda. "
        "El gato está a la izquierda de los dos perros. El fondo es un prado bajo un cielo azul."
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_long_captions_speak_of_everything(language: str) -> None:
    for seed in SEEDS:
        scene, draws = worded(seed)
        sentences = long(scene, language, draws)
        spoken = tuple(i for i, t in enumerate(scene) if not t.clutter) or tuple(range(len(scene.things)))
        assert sentences[0].things == spoken
        assert {place for sentence in sentences[1:-1] for place in sentence.things} == set(spoken)
        assert sentences[-1].text.startswith(lexicon(language).background)


def test_tags() -> None:
    scene = Scene(0, (CAT, DOG, DOG), background="brick")
    assert tags(scene) == ("red cat", "small dogs", "animal", "brick wall")
    assert tags(scene, "de") == ("rote Katze", "kleine Hunde", "Tier", "Backsteinwand")


@pytest.mark.parametrize("say", [short, long, tags])
def test_an_unknown_language_is_an_error(say: object) -> None:
    with pytest.raises(UnknownNameError, match="unknown language 'latin'"):
        say(Scene(0, (CAT,)), "latin")  # type: ignore[operator] # one of three functions
