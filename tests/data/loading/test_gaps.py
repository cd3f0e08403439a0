"""Rows that lack a column: what a batch says of them, and that whole rows are told nothing."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool

from counterpoint.data.base import Rows
from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.recipes import Augmentation
from counterpoint.types import Batch, View
from fixtures.tiny import TinyData


class Mute(TinyData):
    """The shapes, of which every third lacks its caption."""

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        return rows % 3 > 0 if column == "text" else super().present(column, rows)


def loader_of(data: TinyData) -> Loader:
    return Loader(
        data,
        ShuffledOrder(data.splits.train, 8, 0),
        {"image": View("image", "weak"), "again": View("image")},
        augmentation=Augmentation(),
        inputs={"image": Square(24)},
    )


def test_batch_says_which_rows_have_a_column_that_its_views_read() -> None:
    class Blind(Mute):
        def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
            return super().present("text" if column == "image" else "image", rows)

    batch = loader_of(Blind()).batch(0)
    rows = (batch.ids - 1000) // 3
    assert set(batch.present) == {"image"}
    assert torch.equal(batch.has("image"), rows % 3 > 0)
    assert 0 < int(batch.has("image").sum()) < len(batch)


def test_columns_without_gaps_columns_no_view_reads_not_named() -> None:
    assert loader_of(TinyData()).batch(0).present == {}
    batch = loader_of(Mute()).batch(0)
    assert batch.present == {}
    assert batch.has("image").tolist() == [True] * 8


def test_what_rows_have_goes_with_them() -> None:
    have = torch.tensor([True, False, True, True, False])
    whole = Batch(torch.arange(5), {"x": torch.arange(5.0)}, present={"x": have})
    for parts in (list(whole.split(2)), list(whole.divide(2)), [whole.to("cpu")]):
        assert torch.cat([part.present["x"] for part in parts]).tolist() == have.tolist()
        assert torch.cat([part.has("y") for part in parts]).all()
