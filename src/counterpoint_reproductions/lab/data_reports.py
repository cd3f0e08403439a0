"""Scenes with reports of one sentence a thing, in order or shuffled, as data for studies.

A study names the data as it names any data of a file: ``data_reports.py:ORDERED`` has the sentences in the order of the
things' names, ``data_reports.py:SHUFFLED`` in an order of each row's own. Both have the same pictures. Each has a small
form for smoke runs, as ``FEW_ORDERED``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
from jaxtyping import Shaped

from counterpoint.data.base import Rows
from counterpoint.data.derived._derived import DerivedData
from counterpoint.data.fingerprint import bytes_of
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint_reproductions.lab.quick import smaller

NAMES = ("apple", "banana", "car", "cat", "fish", "hat", "key", "tree")
WORLD = (
    f"scenes:basic,objects=2-4,concepts={'+'.join(NAMES)},repeats=0,tinted=0,sizes=medium,relations=0,"
    "train=4000,validation=64,test=1000,pixels=64"
)


@final
class Reports(DerivedData):
    """Scenes whose text names each thing in a sentence.

    Args:
        source: the scenes.
        shuffled: whether the sentences of a row are in an order of its own.
    """

    part: ClassVar[str] = "reports"

    def __init__(self, source: str, shuffled: bool) -> None:
        self.scenes, self.shuffled = Scenes.parse(source), shuffled
        super().__init__(self.scenes, f"scenes with {'shuffled' if shuffled else 'ordered'} reports")
        self.changes = (self.name,)

    def report(self, row: int) -> str:
        """Return the text of a row."""
        names = sorted({thing.concept for thing in self.scenes.scene(row).things})
        if self.shuffled:
            order = np.random.default_rng([11, int(self.ids[row])]).permutation(len(names))
            names = [names[k] for k in order]
        return " ".join(f"a {name}." for name in names)

    def read(self, column: str, rows: Rows) -> Any:
        return list(map(self.report, rows.tolist())) if column == "text" else super().read(column, rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        return self.read(column, rows) if column == "text" else super().read_training(column, rows)

    def evaluation_texts(self, column: str, row: int) -> Sequence[str]:
        return [self.report(row)]

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        return {**super().digests(), "text": list(map(bytes_of, self._all()))}

    def _became(self) -> Shaped[np.ndarray, "N _"]:
        return np.array([bytes_of(row)[:16].ljust(16) for row in self._all()], dtype="S16")[:, None]

    def _all(self) -> list[str]:
        return [self.report(row) for row in range(len(self))]


ORDERED, SHUFFLED = Reports(WORLD, False), Reports(WORLD, True)
FEW_ORDERED, FEW_SHUFFLED = Reports(smaller(WORLD), False), Reports(smaller(WORLD), True)
