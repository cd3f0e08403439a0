"""Multi-attribute bias amplification: a combination shows what no single attribute does, and balance there helps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from counterpoint.data.rng import Rng
from counterpoint.data.source import load
from counterpoint.data.synthetic.scenes.pixels.render import draw
from counterpoint.data.synthetic.scenes.scene import Scene, Thing
from counterpoint.evaluation.bias_amplification import attribute_sets, directional, sampling_noise, thresholds
from counterpoint.networks.init import initialise

from .lab import Arrays, Lab, Result, ThresholdOrigin, above, decides, effects, secondary, within
from .lab.clip_towers import SIDE, FrameNetwork
from .lab.descent import minimise

CLAIM = (
    "Where gender goes with a combination of two things and with neither alone, the signed metric of single "
    "attributes is near 0 while the multi-attribute metric is above what noise gives and grows with the dial; "
    "balancing training within combinations lowers it, balancing within single things does not."
)
REFUTED = "the multi-attribute metric does not exceed the resampling null, or single attributes show the same"
OWN = (
    "A classifier of the person is trained here, because training draws pictures by weights that balance genders "
    "within things or within combinations of them. No sampler of registered methods does so."
)
SHARE = effects.convention("share")
NEAR_ZERO = ThresholdOrigin(kind="convention", text="0.05 of predictions; chosen here")


DIALS = (0.5, 0.65, 0.8)
"""Probability of a woman where both things or neither are there, of a man where one is; one alone tells nothing."""
STRONGEST = DIALS[-1]
BALANCES = ("none", "things", "pairs")
"""Within what both genders are made as frequent in training: each thing, or each combination of the two."""
STEPS, BATCH, LR = 250, 128, 1e-3
WORLDS = 4000
TRAINED, HELD, TESTED = 4000, 1000, 2000
PERSON = 7
"""Pixels of a side of the person: too few to be sure of the gender."""
SINGLE = ((0,), (1,))
THINGS = (("ball", "red"), ("hat", "blue"))
OTHERS = ("cat", "pig", "fish", "apple", "car", "key", "tree", "chair")

Members = Bool[np.ndarray, "n 2"]


def one_hot(groups: Int[np.ndarray, " n"]) -> Members:
    return groups[:, None] == np.arange(2)


def drawn_groups(attributes: Members, dial: float, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Draw 0 with probability ``dial`` where the two attributes agree, and 1 where they do not."""
    agree = attributes[:, 0] == attributes[:, 1]
    return (rng.random(len(agree)) < np.where(agree, 1 - dial, dial)).astype(np.int64)


def hidden(seed: int, test_size: int) -> Arrays:
    """Measure the metrics in a world of labels alone, in which the best guess from the attributes is made."""
    rng = np.random.default_rng([seed, 1])
    tables = []
    for _ in range(2):
        attributes = rng.random((test_size, 2)) < 0.5
        tables.append((attributes, one_hot(drawn_groups(attributes, STRONGEST, rng))))
    train, true = tables
    guess = one_hot((true[0][:, 0] != true[0][:, 1]).astype(np.int64))
    both = attribute_sets(train[0], true[0], least=2)
    return {
        "single": np.array(directional(train, true, guess, SINGLE, of="groups").signed_mean),
        "multi": np.array(directional(train, true, guess, both, of="groups").mean),
        "noise": np.array(sampling_noise(train, true, both, of="groups", seed=seed).mean),
    }


class Posed(NamedTuple):
    """Pictures of things without a person, and where one is to stand.

    Attributes:
        pictures: small.
        attributes: whether each of `THINGS` is there.
        left: of the person, in pixels.
    """

    pictures: UInt8[Tensor, "n 3 S S"]
    attributes: Members
    left: Int[np.ndarray, " n"]


@lru_cache(maxsize=2)
def posed(seed: int, count: int) -> Posed:
    """Draw scenes in three places side by side: a ball or not, a hat or not, and another thing."""
    scenes, attributes, left = list[Scene](), np.zeros((count, 2), dtype=bool), np.zeros(count, np.int64)
    for index in range(count):
        draws = Rng(seed, index, "posed")
        places = draws.sample("places", (170, 500, 830), 3)
        things = [_thing(draws.choice("other", OTHERS), "green", places[2], draws)]
        for k, (concept, colour) in enumerate(THINGS):
            attributes[index, k] = draws.happens(f"has {concept}", 0.5)
            if attributes[index, k]:
                things.append(_thing(concept, colour, places[k], draws))
        left[index] = draws.integer("left", 0, SIDE - PERSON)
        scenes.append(Scene(index, tuple(things)))
    return Posed(draw(scenes, SIDE).pictures, attributes, left)


def _thing(concept: str, colour: str, x: int, draws: Rng) -> Thing:
    return Thing(concept, colour, "medium", 280, x, draws.integer(f"height of {concept}", 200, 500))  # type: ignore[arg-type] # a colour


@lru_cache(maxsize=1)
def people() -> tuple[UInt8[Tensor, "w 3 P P"], UInt8[Tensor, "m 3 P P"]]:
    """Load emoji of women and of men, shrunk."""
    data = load("emoji")
    gender = data.labels["gender"]
    shrunk = []
    for name in ("woman", "man"):
        rows = np.flatnonzero(gender.values == gender.names.index(name))
        shrunk.append(
            F.interpolate(data.images(rows).float(), size=PERSON, mode="area").round().to(torch.uint8)
        )
    return shrunk[0], shrunk[1]


class PeopleScenes(NamedTuple):
    """Pictures of things and a person, what things there are, and the person's gender."""

    pictures: UInt8[Tensor, "n 3 S S"]
    attributes: Members
    groups: Int[np.ndarray, " n"]

    def part(self, start: int, end: int) -> PeopleScenes:
        return PeopleScenes(self.pictures[start:end], self.attributes[start:end], self.groups[start:end])


def world(seed: int, dial: float, count: int) -> PeopleScenes:
    """Draw scenes with a person whose gender goes with the combination of things."""
    scenes, rng = posed(seed, count), np.random.default_rng([seed, round(100 * dial)])
    groups = drawn_groups(scenes.attributes, dial, rng)
    pictures = scenes.pictures.clone()
    for index, (group, left) in enumerate(zip(groups.tolist(), scenes.left.tolist(), strict=True)):
        figures = people()[group]
        pictures[index, :, -PERSON:, left : left + PERSON] = figures[int(rng.integers(len(figures)))]
    return PeopleScenes(pictures, scenes.attributes, groups)


def weights(attributes: Members, groups: Int[np.ndarray, " n"], balance: str) -> Float[np.ndarray, " n"]:
    """Compute how often to draw each row, so that both groups are as frequent within each thing, or each combination.

    >>> there = np.array([[True, True], [True, True], [True, True], [False, False]])
    >>> weights(there, np.array([0, 0, 1, 1]), "pairs").round(3).tolist()
    [0.214, 0.214, 0.429, 0.143]
    """
    parts: dict[str, list[np.ndarray]] = {
        "none": [],
        "things": [attributes[:, :1], attributes[:, 1:]],
        "pairs": [attributes],
    }
    frequency = np.ones(len(groups))
    for columns in parts[balance]:
        cell = columns @ (1 << np.arange(columns.shape[1]))
        share = np.array([np.mean(groups[cell == c] == g) for c, g in zip(cell, groups, strict=True)])
        frequency /= share
    return frequency / frequency.sum()


def classifier(seed: int) -> nn.Sequential:
    """Build a network on pictures with a hidden layer, to the two groups."""
    network = nn.Sequential(FrameNetwork(64), nn.ReLU(), nn.Linear(64, 2))
    initialise(network, seed)
    return network


def run_classifier(
    dial: float, balance: str, seed: int, steps: int, train_size: int, held_size: int, test_size: int
) -> Arrays:
    """Train a classifier of the person's gender and measure what it ties to things.

    Args:
        dial: one of `DIALS`.
        balance: one of `BALANCES`.
        seed, steps: of the run.
        train_size, held_size, test_size: scenes to train on, to choose thresholds on and to judge.
    """
    sizes = (train_size, held_size, test_size)
    ends = np.cumsum(sizes)
    whole = world(seed, dial, int(ends[-1]))
    train, held, test = (whole.part(int(end - size), int(end)) for size, end in zip(sizes, ends, strict=True))
    network, drawn = classifier(seed), weights(train.attributes, train.groups, balance)
    target = torch.from_numpy(train.groups)

    def step(rng: np.random.Generator) -> Tensor:
        rows = rng.choice(len(target), BATCH, p=drawn)
        return F.cross_entropy(network(train.pictures[rows]), target[rows])

    minimise(step, network.parameters(), steps=steps, lr=LR, seed=seed)
    bound = thresholds(probabilities(network, held), one_hot(held.groups))
    scores = probabilities(network, test)
    before, after = ((part.attributes, one_hot(part.groups)) for part in (train, test))
    both = attribute_sets(train.attributes, test.attributes, least=2)
    multi = directional(before, after, scores > bound, both, of="groups")
    single = directional(before, after, scores > bound, SINGLE, of="groups")
    return {
        "multi": np.array(multi.mean),
        "single": np.array(single.signed_mean),
        "noise": np.array(
            np.mean([sampling_noise(before, after, both, of="groups", seed=s).mean for s in range(20)])
        ),
        "accuracy": np.array(np.mean(scores.argmax(1) == test.groups)),
    }


@torch.no_grad()
def probabilities(network: nn.Module, data: PeopleScenes) -> Float[np.ndarray, "n 2"]:
    parts = torch.split(data.pictures, 512)
    return torch.cat([network.eval()(part).softmax(1) for part in parts]).numpy()


def run(lab: Lab) -> Iterator[Result]:
    labels = lab.grid(hidden, {}, test_size=WORLDS)
    sizes = {"steps": STEPS, "train_size": TRAINED, "held_size": HELD, "test_size": TESTED}
    dials = lab.grid(run_classifier, {"dial": DIALS}, balance="none", **sizes)
    balances = lab.grid(run_classifier, {"balance": BALANCES}, dial=STRONGEST, **sizes)
    pair, single = "mean |Δ| of the two things together", "mean Δ of single things, with signs"
    in_labels, by_dial = labels.scores("{}", pair), dials.scores("{}", pair)
    balanced = balances.scores("multi", pair)

    def grows(low: float, high: float) -> Result:
        gain = by_dial[high, "multi"] - by_dial[low, "multi"]
        return above(gain, name=f"B: both, dial {high:g} − {low:g}", **SHARE)

    yield from decides(
        within(
            by_dial[STRONGEST, "single"],
            0.05,
            name=f"B: single, dial {STRONGEST:g}",
            metric=single,
            source=NEAR_ZERO,
        ),
        above(
            by_dial[STRONGEST, "multi"] - by_dial[STRONGEST, "noise"],
            name=f"B: both − noise, dial {STRONGEST:g}",
            **SHARE,
        ),
        grows(DIALS[0], STRONGEST),
        above(
            balanced["none"] - balanced["pairs"],
            name="B: both, plain − balanced within combinations",
            **SHARE,
        ),
        above(
            balanced["things"] - balanced["pairs"],
            name="B: both, balanced within single things − within combinations",
            **SHARE,
        ),
    )
    # A restates how the labels are made: its guess is the best one, so that only sampling moves the two metrics.
    yield from secondary(
        within(in_labels["single"], 0.05, name="A: labels alone, single", metric=single),
        above(in_labels["multi"] - in_labels["noise"], 0.1, name="A: labels alone, both − noise"),
        *(grows(low, high) for low, high in pairwise(DIALS)),
    )
    right = ", ".join(f"{by_dial.values((dial, 'accuracy')).mean():.2f} at {dial:g}" for dial in DIALS)
    lab.note(
        f"A person of {PERSON} pixels, a woman with probability {STRONGEST:g} where a ball and a hat are both there or",
        f"both missing and a man where one is, in pictures of {SIDE} × {SIDE} with a third thing. The dial ends at",
        f"{STRONGEST:g}, as what is predicted at most always leaves less to amplify the stronger the labels are tied.",
        f"{STEPS} steps of {BATCH}; thresholds from {HELD} pictures held out; {TESTED} test pictures of the same dial.",
        f"Accuracy: {right}.",
    )
