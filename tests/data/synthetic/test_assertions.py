"""Descriptions read back into statements: the world's own are true, and each change of one is found."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoint.data.rng import Rng
from counterpoint.data.source import load_any
from counterpoint.data.synthetic.scenes.scene import Scene, Thing
from counterpoint.data.synthetic.scenes.words.assertions import assertions, judged
from counterpoint.data.synthetic.scenes.words.paragraphs import long

CAT = Thing("cat", "red", "small", 150, 200, 500)
DOG = Thing("dog", None, "large", 400, 750, 500)
SCENE = Scene(0, (CAT, DOG), background="grey")


def said(text: str) -> list[tuple[str, tuple[str, ...], str, bool]]:
    return [(*it, affirmed) for it, affirmed in assertions(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A cat", [("exists", ("cat",), "", True)]),
        ("There is no bus.", [("exists", ("bus",), "", False)]),
        ("Two cats.", [("exists", ("cat",), "", True), ("exactly", ("cat",), "2", True)]),
        ("Two red cats.", [("exists", ("cat",), "", True), ("colour", ("cat",), "red", True)]),
        ("The background is a meadow under a blue sky.", [("background", (), "meadow", True)]),
        ("Stripes and blue.", []),
        ("", []),
    ],
)
def test_statements_by_hand(text: str, expected: list[tuple[str, tuple[str, ...], str, bool]]) -> None:
    assert said(text) == expected


def test_what_is_said_behind_the_verb_and_between_things() -> None:
    text = "The feline at the top left is small and red. The cat is to the left of the hound, on a grey background."
    found = said(text)
    assert ("size", ("cat",), "small", True) in found
    assert ("colour", ("cat",), "red", True) in found
    assert ("relation", ("cat", "dog"), "left of", True) in found
    assert ("background", (), "grey", True) in found
    assert ("larger", ("dog", "cat"), "", True) in said("The dog is larger than the cat.")


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("A red cat. The cat is red.", (2, 0, 0)),  # what is said twice counts once
        ("A blue cat.", (1, 1, 0)),
        ("A small bus.", (0, 2, 0)),
        ("No cat, no bus.", (1, 1, 0)),
        ("The cat is to the right of the dog.", (2, 1, 0)),
        ("The background is white.", (0, 1, 0)),
        ("Nice!", (0, 0, 0)),
    ],
)
def test_verdicts_by_hand(text: str, counts: tuple[int, int, int]) -> None:
    result = judged(text, SCENE)
    assert (result.true, result.false, result.undecided) == counts


def test_of_two_things_alike_nothing_is_decided_of_one() -> None:
    two = Scene(0, (CAT, Thing("cat", "blue", "small", 150, 800, 500)), background="grey")
    result = judged("A red cat.", two)
    assert (result.true, result.false, result.undecided) == (1, 0, 1)
    assert result.recalled == 1
    assert result.facts == 3, "the background, that there is a cat, and that there are two"


@pytest.mark.parametrize("preset", ["tiny", "relations", "counts"])
def test_the_worlds_own_descriptions_hold(preset: str) -> None:
    world = load_any(f"scenes:{preset},train=60,validation=8,test=8")
    statements = 0
    for row in range(60):
        scene = world.scene(row)
        text = " ".join(sentence.text for sentence in long(scene, draws=Rng(0, row)))
        result = judged(text, scene)
        assert result.false == 0, (text, list(assertions(text)))
        statements += result.true
    assert statements > 2 * 60


def test_facts_beside_what_a_model_says() -> None:
    from counterpoint.evaluation import create
    from fixtures.assistants import Says

    world = load_any("scenes:tiny,train=8,validation=8,test=12")
    rows = np.concatenate([*world.splits.test.values()])[:6]
    told = {
        picture.numpy().tobytes(): " ".join(it.text for it in long(world.scene(int(row))))
        for row, picture in zip(rows, world.images(rows), strict=True)
    }
    task = create("facts")
    true = task(Says(lambda prompt, seed: told[prompt.picture.numpy().tobytes()]), world, rows)
    silent = task(Says(lambda prompt, seed: "Nothing."), world, rows)
    false = task(Says(lambda prompt, seed: "The background is a meadow. A zebra and a bus."), world, rows)
    assert true.value("held") == 1
    assert true.value("recall") > 0.5 > false.value("recall")
    assert false.value("held") < 1
    assert silent.value("statements") == 0
