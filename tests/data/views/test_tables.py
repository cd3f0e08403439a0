"""Views of rows of tables: cells of other rows, by keys alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import counterpoint as cp
from counterpoint.data import views
from counterpoint.data.views.tables import TABLE_VIEWS, TableView, table
from counterpoint.networks.towers.table import Cells
from counterpoint.recipes.schema import Augmentation
from counterpoint.registry import UnknownNameError

NAN = float("nan")
ROWS = cp.Table(
    torch.tensor([[10.0, 0], [20, 1], [30, 1], [40, 1], [NAN, NAN]]), ("age", "sex"), ((), ("f", "m"))
)
CELLS = Cells.fit([ROWS])


def keys(count: int, view: str = "table") -> np.ndarray:
    return views.key(0, 0, np.arange(count), view)


@pytest.mark.parametrize("name", list(TABLE_VIEWS))
def test_a_view_is_a_function_of_the_key_alone(name: str) -> None:
    together = table(name)(ROWS, keys(5), CELLS)
    for row in range(5):
        alone = table(name)(ROWS[row], keys(5)[row : row + 1], CELLS)
        assert torch.equal(alone[0].nan_to_num(9), together[row].nan_to_num(9))
    assert torch.equal(together.isnan(), CELLS(ROWS).isnan())


def test_cells_other_rows_stand_often_as_says_as_often_as_occur() -> None:
    many = ROWS[[0] * 4000]
    found = TableView(replace=0.5)(many, keys(4000), CELLS)
    ages = found[:, 0] * CELLS.cells[0].deviation + CELLS.cells[0].mean
    shares = [(ages - age).abs().lt(1e-3).float().mean().item() for age in (10, 20, 30, 40)]
    assert sum(shares) == pytest.approx(1)
    assert shares == pytest.approx([0.625, 0.125, 0.125, 0.125], abs=0.04)
    assert found[:, 2].mean().item() == pytest.approx(0.5 * 0.75, abs=0.04)
    moved = (ages - 10).abs().gt(1e-3).float()
    assert abs(np.corrcoef(moved.numpy(), found[:, 2].numpy())[0, 1]) < 0.05


def test_a_recipe_can_leave_every_cell_as_it_is() -> None:
    assert table("weak", Augmentation(paired="plain")) == table("plain")
    assert table("simclr", Augmentation(paired="plain")) == table("simclr")
    assert table("weak", Augmentation(paired="convirt")) == table("weak")


def test_refusals() -> None:
    with pytest.raises(ValueError, match="keys must be one per row: got 2 for 5"):
        table("weak")(ROWS, keys(2), CELLS)
    with pytest.raises(UnknownNameError, match="unknown view of tables 'plane': did you mean 'plain'"):
        table("plane")
