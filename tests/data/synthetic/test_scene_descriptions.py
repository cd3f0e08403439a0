from __future__ import annotations

from itertools import combinations

import pytest

from counterpoint.data.synthetic.scenes.concepts import CONCEPTS
from counterpoint.data.synthetic.scenes.scene import COLOURS, Thing
from counterpoint.data.synthetic.scenes.words.descriptions import (
    TRAITS,
    ClassDescription,
    concept,
    differences,
    invented,
    similarities,
    statements,
)
from counterpoint.data.synthetic.scenes.words.lexicon import lexicon
from counterpoint.registry import UnknownNameError

KNOWN = {name: concept(name) for name in CONCEPTS}


def test_every_concept_is_described() -> None:
    for described in KNOWN.values():
        assert {"kind", "shape", "parts"} <= set(described.traits) <= set(TRAITS)
        assert all(words and len(set(words)) == len(words) for words in described.traits.values())
        assert len(set(statements(described))) == len(statements(described)) >= 3


def test_any_two_concepts_differ_in_something() -> None:
    alike = [(a, b) for a, b in combinations(KNOWN, 2) if not differences(KNOWN[a], KNOWN[b])]
    assert alike == []


def test_what_differs_is_said_of_each_and_what_is_shared_of_both() -> None:
    first = ClassDescription(
        "a dax", {"colour": ("red", "green"), "shape": ("round",), "parts": ("a tail", "wings")}
    )
    second = ClassDescription(
        "an ek", {"colour": ("blue", "green"), "shape": ("round",), "parts": ("a tail",), "size": ("small",)}
    )
    assert differences(first, second) == (
        ("colour", "a picture of a dax, which is red", "a picture of an ek, which is blue"),
    )  # of parts the second has none that the first lacks; of its size nothing is known for the first
    assert similarities(first, second) == (
        ("colour", "a picture of a dax, which is green", "a picture of an ek, which is green"),
        ("shape", "a picture of a dax, which is round", "a picture of an ek, which is round"),
        ("parts", "a picture of a dax, which has a tail", "a picture of an ek, which has a tail"),
    )


def test_differences_turned_round_are_the_same_sentences() -> None:
    for a, b in combinations(list(KNOWN.values())[::5], 2):
        assert [(d.trait, d.second, d.first) for d in differences(a, b)] == list(
            map(tuple, differences(b, a))
        )


def test_a_class_does_not_differ_from_itself() -> None:
    assert differences(KNOWN["cat"], KNOWN["cat"]) == ()


def test_invented_names_are_in_no_caption() -> None:
    things = [Thing("cat", colour, "small", 150, 500, 500) for colour in COLOURS] * 4
    named = invented(things)
    names = {each.name.split()[1] for each in named}
    assert len(names) == len(things)
    for language in ("en", "de", "fr", "es"):
        assert not names & {word for noun in lexicon(language).nouns.values() for word in noun}


def test_invented_classes_say_what_is_said_of_their_thing() -> None:
    plain, dyed = (
        Thing("elephant", None, "large", 400, 500, 500),
        Thing("elephant", "pink", "small", 150, 500, 500),
    )
    first, second = invented([plain, dyed])
    assert statements(first) == (
        "a picture of a dax, which is an elephant",
        "a picture of a dax, which is large",
    )
    assert [each.trait for each in differences(first, second)] == ["size"]


def test_too_many_invented_classes_are_an_error() -> None:
    thing = Thing("cat", None, "small", 150, 500, 500)
    with pytest.raises(ValueError, match=r"there are \d+ invented names, got 99 things"):
        invented([thing] * 99)


def test_an_unknown_concept_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="unknown concept 'catt': did you mean 'cat'"):
        concept("catt")
