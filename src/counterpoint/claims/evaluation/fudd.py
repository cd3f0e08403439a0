"""FuDD: what tells the likeliest classes apart helps to choose among them; as much that does not, helps less."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from ...data.base import Rows, Splits
from ...data.embeddings import EmbeddingCache
from ...data.labels import Classes
from ...data.pictured import PairedData
from ...data.worlds.scenes.config import SIDES
from ...data.worlds.scenes.pixels.render import draw
from ...data.worlds.scenes.scene import UNIT, Colour, Scene, Size, Thing
from ...data.worlds.scenes.words.descriptions import (
    TEMPLATE,
    Described,
    differences,
    invented,
    statements,
)
from ...evaluation import create
from ...evaluation.describing import Differential, second_pass
from ...evaluation.describing.differential import Among, by_name, likeliest
from ...evaluation.task import similarity, top1
from ...losses import InfoNCELoss
from ..benches.scene_towers import SIDE, SceneTowers, train
from ..lab import Arrays, Lab, Result, above, below, beside, decides

CLAIM = (
    "A second pass among the classes that a picture could be, by sentences about what tells them apart, "
    "classifies better than names, and better than as many sentences about any of their attributes."
)
REFUTED = "random attributes do as well as those that differ, or names alone do"


CONCEPTS = ("cat", "fish", "apple", "car", "key", "hat")
COLOURS: tuple[Colour, ...] = ("red", "yellow", "green", "blue", "purple")
VALUES: tuple[tuple[str, ...], ...] = (
    COLOURS,
    ("small", "large"),
    ("on the left", "on the right"),
    ("at the top", "at the bottom"),
)
"""Values of colour, size, column and row."""
PAIRS = tuple(combinations(range(len(VALUES)), 2))
"""The two traits in which the kinds of a concept differ: of each concept others."""
KINDS = 4
STEPS, BATCH, LR = 600, 128, 1e-3
TRAINED, CAPTIONS, TESTED = 4000, 4, 40
TEMPLATES = ("{}", TEMPLATE, "there is {}", "this is {}", "the picture shows {}")
ARMS = ("differential", "random", "shared", "all", "templates", "name")


class Look(NamedTuple):
    """A concept and one of each of `VALUES`."""

    concept: str
    values: tuple[str, ...]


def kinds(seed: int) -> tuple[list[Look], list[Described]]:
    """Invent four kinds of each concept, named by a word no caption has, that differ in two traits and share two."""
    rng = np.random.default_rng([seed, 1])
    looks = []
    for concept, varied in zip(CONCEPTS, PAIRS, strict=True):
        options = [
            rng.permutation(np.asarray(values))[: 1 + (t in varied)] for t, values in enumerate(VALUES)
        ]
        looks += [Look(concept, tuple(map(str, values))) for values in product(*options)]
    words = rng.permutation(names())[: len(looks)]
    described = [
        Described(
            f"a {word} {look.concept}",
            {"colour": look.values[:1], "size": look.values[1:2], "place": look.values[2:]},
        )
        for word, look in zip(words.tolist(), looks, strict=True)
    ]
    return looks, described


def names() -> list[str]:
    """Return the invented names, without articles."""
    return [each.name.split()[1] for each in invented([Thing("cat", None, "small", 160, 500, 500)] * 42)]


def scene(look: Look, rng: np.random.Generator) -> Scene:
    """Place a thing of this look, of exact size and place at random."""
    colour, size, column, row = look.values
    side = 2 * int(rng.integers(SIDES[_size(size)][0] // 2, SIDES[_size(size)][1] // 2 + 1))
    x, y = (int(at) for at in rng.integers(side // 2, 351, 2))
    x, y = (UNIT - x if column == VALUES[2][1] else x), (UNIT - y if row == VALUES[3][1] else y)
    return Scene(0, (Thing(look.concept, _colour(colour), _size(size), side, x, y),))


def _colour(word: str) -> Colour:
    (found,) = (colour for colour in COLOURS if colour == word)
    return found


def _size(word: str) -> Size:
    (found,) = (size for size in SIDES if size == word)
    return found


def caption(look: Look, words: Sequence[str], rng: np.random.Generator) -> str:
    """Write a true sentence of some of the look's traits, with an odd word before every other noun."""
    noun = f"a {rng.choice(words)} {look.concept}" if rng.random() < 0.5 else f"a {look.concept}"
    said = rng.permutation(np.asarray(look.values))[: rng.integers(len(look.values) + 1)].tolist()
    return TEMPLATE.format(noun) + (f", which is {' and '.join(said)}" if said else "")


@final
class Kinds(PairedData):
    """Pictures of kinds of things, to be told by names that nobody learned."""

    name = "kinds"

    def __init__(
        self, pictures: UInt8[Tensor, "n 3 S S"], values: Int[np.ndarray, " n"], named: Classes
    ) -> None:
        self._pictures, self._named = pictures, named
        self.ids = np.arange(len(values))
        self.subsets = np.array([named.names[value].split()[-1] for value in values])
        self.labels: Mapping[str, Classes] = {"kind": named}
        self.splits = Splits(self.ids[:0], {}, {"kinds": self.ids})

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 S S"]:
        return self._pictures[torch.from_numpy(rows)]

    def captions(self, row: int) -> Sequence[str]:
        return (TEMPLATE.format(self._named.names[self._named.values[row]]),)


def trained(seed: int, steps: int, train_size: int) -> SceneTowers:
    """Train by contrast on pictures of any look and true sentences about them."""
    rng = np.random.default_rng([seed, 2])
    tested = {described.name.split()[1] for described in kinds(seed)[1]}
    words = [word for word in names() if word not in tested]
    looks = [
        Look(str(rng.choice(CONCEPTS)), tuple(str(rng.choice(values)) for values in VALUES))
        for _ in range(train_size)
    ]
    pictures = draw([scene(look, rng) for look in looks], SIDE).pictures
    texts = [caption(look, words, rng) for look in looks for _ in range(CAPTIONS)]
    towers = SceneTowers(texts, seed)
    tokens = towers.words.tokenizer(texts).view(train_size, CAPTIONS, -1)
    choices = np.random.default_rng([seed, 3])

    def loss(towers: SceneTowers, infonce: InfoNCELoss, rows: Int[np.ndarray, " B"]) -> Tensor:
        said = tokens[rows, choices.integers(CAPTIONS, size=len(rows))]
        return infonce(towers.pictures(pictures[rows]), towers.captions(said))

    train(towers, loss, examples=train_size, batch=BATCH, steps=steps, lr=LR, seed=seed)
    return towers


def experiment(seed: int, steps: int, train_size: int, per_class: int) -> Arrays:
    """Train and then classify kinds by what is said of them.

    Returns:
        Hits of every arm; ``recall`` of the first pass, and the ``gain`` where it was less and more sure.
    """
    looks, described = kinds(seed)
    rng = np.random.default_rng([seed, 4])
    values = np.repeat(np.arange(len(looks)), per_class)
    pictures = draw([scene(looks[value], rng) for value in values], SIDE).pictures
    labels = Classes(tuple(each.name for each in described), values, TEMPLATES)
    data = Kinds(pictures, values, labels)
    features = EmbeddingCache(trained(seed, steps, train_size), data)
    known = {each.name: each for each in described}
    task = create("fudd", label="kind", k=KINDS, describe=lambda a, b: differences(known[a], known[b]))
    scores = task(features, data, data.ids)
    found: Arrays = {"differential": scores.examples["top1"].to_numpy()}
    found |= {
        "name": scores.examples["first_top1"].to_numpy(),
        "recall": scores.examples["recall"].to_numpy(),
    }
    found |= {name: np.array(scores.value(name)) for name in ("gain_close", "gain_clear")}
    found["sentences"] = np.array(scores.examples["sentences"].mean())
    images, truth = features.images(data.ids), torch.from_numpy(values)
    found["templates"] = top1(similarity(features, images, features.classes(labels)), truth)
    candidates = likeliest(by_name(features, images, labels.names), KINDS)
    place = (candidates == truth[:, None]).long().argmax(1)
    for arm, among in others(described, seed).items():
        hits = top1(second_pass(features, images, candidates, among).similarities, place)
        found[arm] = hits * found["recall"]
    return found


def others(described: Sequence[Described], seed: int) -> dict[str, Among]:
    """Return other things to say of the candidates: as many, chosen at random; those that all candidates share; all."""
    known, labels = {each.name: each for each in described}, [each.name for each in described]
    differing = Differential(labels, lambda a, b: differences(known[a], known[b]))
    plain = [TEMPLATE.format(name) for name in labels]

    def shared(classes: tuple[int, ...]) -> list[tuple[str, ...]]:
        own = [[s.removeprefix(plain[c]) for s in statements(described[c])] for c in classes]
        common = set(own[0]).intersection(*own)
        said = [
            [plain[c] + end for end in ends if end in common] for c, ends in zip(classes, own, strict=True)
        ]
        return [tuple(sentences or [plain[c]]) for c, sentences in zip(classes, said, strict=True)]

    def at_random(classes: tuple[int, ...]) -> list[tuple[str, ...]]:
        rng = np.random.default_rng([seed, 5, *classes])
        found = []
        for c, said in zip(classes, differing(classes), strict=True):
            own = np.asarray(statements(described[c]))
            found.append(tuple(rng.permutation(own)[: len(said)].tolist()))
        return found

    return {
        "random": at_random,
        "shared": shared,
        "all": lambda classes: [statements(described[c]) for c in classes],
    }


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(experiment, {}, steps=STEPS, train_size=TRAINED, per_class=TESTED)
    hits = runs.scores("{}", "top-1, kinds of things by unseen names")
    gain = runs.scores("gain_{}", "differential − name, halves of the pictures by the first pass's lead")
    yield from decides(*(above(hits["differential"] - hits[other]) for other in ("random", "name")))
    yield from beside(
        *(above(hits["differential"] - hits[other]) for other in ("all", "templates")),
        above(hits["random"] - hits["name"]),
        below(hits["shared"] - hits["name"], 0.05),
        above(
            gain["close"] - gain["clear"],
            name="gain where the first pass was less sure − where it was surer",
        ),
    )
    lab.note(
        f"Four kinds of each of {len(CONCEPTS)} things, which differ in two of colour, size, column and row and",
        f"share the other two; k is {KINDS}, so that the candidates are the kinds of one thing if the first pass",
        "finds it. A kind is called by an odd word and its noun ('a dax cat'): by an odd word alone the first pass",
        f"would be a guess. The towers learn {SIDE}-pixel scenes and sentences of any of the traits, half of them",
        f"with other odd words, in {STEPS} steps of {BATCH}. Descriptions come from templates and not from a",
        f"language model. Sentences of a class: {hits.values('sentences').mean():.2f}, as many at random. Accuracy:",
        f"{hits.means((*ARMS, 'recall'))}.",
    )
