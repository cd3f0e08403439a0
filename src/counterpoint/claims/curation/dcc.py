"""DCC: do gradients summed over classes condense fine-grained classes on shared backgrounds better?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import torch

from ...data.base import Rows
from ...data.curation.condensing import pictures_of
from ...data.curation.matching import Order, Real, condensed, herded, start, train
from ...data.pictured import Pictured
from ...data.source import load_any
from ...networks.init import seeded
from ...networks.plain_convnet import plain_convnet
from ..lab import Arrays, Lab, Result, above, below, beside, decides

CLAIM = (
    "Animals on backgrounds that all of them share are condensed to pictures that train better networks where "
    "gradients are summed over classes before they are compared than where they are compared class by class, and than "
    "random and herded pictures do."
)
REFUTED = "matching class by class, random or herded pictures are as good"

ANIMALS = "cat+dog+pig+horse+monkey+fish+snail"
BACKGROUNDS = {"common": "meadow+beach+snow+sunset+brick+dotted+striped", "plain": "white"}
SIDE, WIDTH, PER_CLASS, NETWORKS = 32, 32, 5, 3
ORDERS: Mapping[str, Order] = {"dc": "dc", "dcc": "dcc"}
WAYS = ("random", "herding", "dc", "dcc")


@cache
def pictures(background: str, size: int) -> dict[str, Real]:
    """Return the pictures to condense and those to test on, by class."""
    world = f"objects=1-1,repeats=0,relations=0,tinted=0,sizes=medium,train={size},validation=10,test={size}"
    data = load_any(f"scenes:basic,concepts={ANIMALS},backgrounds={BACKGROUNDS[background]},{world}")
    assert isinstance(data, Pictured)
    animals = data.label("concept", "classes")

    def of_class(rows: Rows) -> Real:
        each = [rows[animals.values[rows] == number] for number in range(len(animals.names))]
        return Real([pictures_of(data, chosen, SIDE) for chosen in each])

    return {"train": of_class(data.splits.train), "test": of_class(data.splits.test["as trained"])}


def judged(way: str, background: str, seed: int, steps: int, trained: int, size: int) -> Arrays:
    """Condense in one way, and ask of every test picture how many of some networks trained on the result are right."""
    real = pictures(background, size)["train"]
    chosen = herded(real, PER_CLASS, seed, width=WIDTH) if way == "herding" else None
    small_set = chosen or start(real, PER_CLASS, seed)
    if (order := ORDERS.get(way)) is not None:
        *_, small_set = condensed(real, small_set, order, iterations=steps, seed=seed, width=WIDTH)
    tested = pictures(background, size)["test"].classes
    seen = torch.cat([real.seen(each) for each in tested])
    truth = torch.arange(len(tested)).repeat_interleave(torch.tensor([len(each) for each in tested]))
    numbers = torch.arange(len(tested)).repeat_interleave(PER_CLASS)
    right = torch.zeros(len(seen))
    for network in range(NETWORKS):
        with seeded(seed, f"judge {network}"):
            judge = plain_convnet(len(tested), SIDE, WIDTH)
            train(judge, small_set.pictures.flatten(0, 1), numbers, trained)
        with torch.no_grad():
            right += judge(seen).argmax(1) == truth
    return {"right": (right / NETWORKS).double().numpy()}


def run(lab: Lab) -> Iterator[Result]:
    axes = {"way": WAYS, "background": tuple(BACKGROUNDS)}
    accuracy = lab.grid(judged, axes, seeds=5, steps=200, trained=300, size=7000).scores("right", "accuracy")
    yield from decides(*(above(accuracy["dcc", "common"] - accuracy[way, "common"]) for way in WAYS[:-1]))
    yield from beside(
        below(accuracy["dc", "common"] - accuracy["random", "common"]),
        *(above(accuracy["dcc", "plain"] - accuracy[way, "plain"]) for way in WAYS[:-1]),
    )
    lab.note(
        f"{len(ANIMALS.split('+'))} animals in scenes of one thing at {SIDE} pixels, {PER_CLASS} pictures of each.",
        f"200 networks of width {WIDTH} are matched where the paper takes 1,000, each by one step of the pictures, as",
        f"it does for one of a class; the first 50 warm up class by class. {NETWORKS} new ones learn",
        f"the pictures for 300 epochs without augmentation. Accuracy by way and background: {accuracy.means()}.",
    )
