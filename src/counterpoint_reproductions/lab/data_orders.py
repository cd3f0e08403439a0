"""Captions of scenes, of which every second one has its words in another order, as data for studies.

A study names them as it names any data of a file: ``orders.py:ORDERS_200`` and ``orders.py:ORDERS_1000``, by how many
are trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import final

import numpy as np

from counterpoint.data.base import Data, Rows, Splits
from counterpoint.data.labels import Classes
from counterpoint.data.source import load
from counterpoint.registry import unknown

WORLD = "scenes:basic,train=4000,validation=2,test=3000"
WORDS = 5
"""Fewest words of a caption: of two words half of the shuffled ones are in order."""
TRAINED, VALIDATED, TESTED = 1000, 100, 1000


@cache
def captions() -> tuple[list[str], list[str]]:
    """Return captions of scenes to train on, and others, as many as are needed, no two of which are equal."""
    world = load(WORLD)
    (test,) = world.splits.test.values()
    shown, held = (
        [c for c in dict.fromkeys(world.read("text", rows)) if len(c.split()) >= WORDS]
        for rows in (world.splits.train, test)
    )
    known = set(shown[:TRAINED])
    return shown[:TRAINED], [c for c in held if c not in known][: VALIDATED + TESTED]


def shuffled(caption: str, rng: np.random.Generator) -> str:
    """Return the words of a caption in another order."""
    words = caption.split()
    other = words
    while other == words:
        other = [words[k] for k in rng.permutation(len(words))]
    return " ".join(other)


@final
class Orders(Data):
    """Captions in order or not, a task that is not about meaning; all data of this kind hold out the same captions.

    The label ``order`` says which; ``none`` has the same classes, and no caption has one of them: what learns from it
    learns without labels.

    Args:
        labelled: how many to train on.
    """

    columns: Mapping[str, str] = MappingProxyType({"text": "text"})

    def __init__(self, labelled: int) -> None:
        rng = np.random.default_rng(7)
        shown, held = captions()
        orders = np.arange(len(shown) + len(held)) % 2
        self.name = f"{labelled} captions in order or shuffled"
        self.texts = [
            shuffled(c, rng) if other else c for c, other in zip([*shown, *held], orders, strict=True)
        ]
        self.ids = np.arange(len(self.texts))
        train, validation, test = np.split(self.ids, (TRAINED, TRAINED + VALIDATED))
        self.splits = Splits(train[:labelled], {"held out": validation}, {"held out": test})
        classes = ("in order", "shuffled")
        self.labels = {
            "order": Classes(classes, orders),
            "none": Classes(classes, np.full(len(orders), -1)),
        }

    def read(self, column: str, rows: Rows) -> list[str]:
        if column not in self.columns:
            raise unknown(f"column of {self.name}", column, self.columns)
        return [self.texts[row] for row in rows]


ORDERS_200, ORDERS_1000 = Orders(200), Orders(1000)
