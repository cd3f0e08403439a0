"""Loaders of a few drawn shapes for any method, and what a worker process makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import torch
from method_stubs import CELLS, NUMBER, TAGS, StubSound
from torch.utils.data import DataLoader, Dataset

from counterpoint.data.base import Rows
from counterpoint.data.labels import Numbers, Points, Tags
from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.raw import Table, Waves
from counterpoint.recipes import Augmentation
from counterpoint.types import Batch
from fixtures.tiny import TinyData

L = TypeVar("L", bound=Loader)


class Measured(TinyData):
    """The shapes, each with a noise and with cells of a table of its own, with tags, a number and a click."""

    columns = MappingProxyType({"image": "image", "text": "text", "audio": "audio", "table": "table"})

    def __init__(self) -> None:
        super().__init__()
        draws = np.random.default_rng(0)
        tags = draws.integers(-1, 2, (len(self), len(TAGS.classes)))
        number = draws.standard_normal(len(self))
        self.labels = {**self.labels, TAGS.label: Tags(TAGS.classes, tags), NUMBER.label: Numbers(number)}
        self.labels["click"] = Points(draws.random((len(self), 2)))

    def read(self, column: str, rows: Rows) -> Any:
        if column not in ("audio", "table"):
            return super().read(column, rows)
        noises = [np.random.default_rng(int(row)).standard_normal(40).astype(np.float32) for row in rows]
        if column == "audio":
            return Waves.of(noises, StubSound.rate)
        cells = torch.from_numpy(np.stack(noises)[:, : len(CELLS)])
        return Table(cells, CELLS, ((),) * len(CELLS))


DATA = Measured()


def loader_of(method: Any, kind: type[L] = Loader, **options: Any) -> L:
    """Batches of 8 from 12 examples."""
    options = {"augmentation": Augmentation(synonyms=False), **options}
    return kind(
        DATA, ShuffledOrder(DATA.splits.train[:12], 8, 0), method.views, inputs=method.inputs, **options
    )


class FirstBatches(Dataset[Batch]):
    """The first batch of each of several loaders."""

    def __init__(self, loaders: Sequence[Loader]) -> None:
        self.loaders = loaders

    def __len__(self) -> int:
        return len(self.loaders)

    def __getitem__(self, index: int) -> Batch:
        return self.loaders[index].batch(0)


def prepared_by_a_worker(loaders: Sequence[Loader]) -> list[Batch]:
    """Return the first batch of each loader, all from one process that was started for it."""
    return list(
        DataLoader(FirstBatches(loaders), batch_size=None, num_workers=1, multiprocessing_context="spawn")
    )
