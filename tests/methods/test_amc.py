"""AMC: margins in plain loops, the gradient of a gradient, and rows whose region is not known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from method_stubs import LATE, batch, build, finer_vit, run
from torch import Tensor

from counterpoint.methods import create
from counterpoint.methods.amc import attention_entropy, margins
from counterpoint.networks.towers.maps import MapPatches, MapSquare
from counterpoint.testing._stubs import RECIPE
from counterpoint.training.trained import trained_rows
from counterpoint.types import Batch
from fixtures.tiny import TinyData

PLAIN: dict[str, Any] = {"queue": 0, "alpha": 0.0}


def annotated(**options: Any) -> tuple[Any, Batch]:
    """Return a method in float64, and a batch with the regions: upper half, lower half, none, all."""
    method = build("amc", image=finer_vit, **PLAIN, **options).double()
    given = batch(method, 4, dtype=torch.float64)
    regions = torch.zeros(4, 8, 8, dtype=torch.uint8)
    regions[0, :4], regions[1, 4:], regions[3] = 2, 1, 1
    return method, replace(given, views={**given.views, "map": regions})


def lost(method: Any, given: Batch) -> Any:
    torch.manual_seed(0)
    return run(method, given, LATE)["amc"]


def test_margins_equal_plain_loops() -> None:
    torch.manual_seed(0)
    maps, regions = torch.rand(5, 4, 4, dtype=torch.float64), torch.rand(5, 4, 4) > 0.5
    for loss, m, r in zip(margins(maps, regions, 0.7), maps.numpy(), regions.numpy(), strict=True):
        mean = max(0.0, float(m[~r].mean() - m[r].mean() + 0.1))
        peak = max(0.0, float(m[~r].max() - m[r].max() + 0.5))
        assert float(loss) == pytest.approx(0.3 * mean + 0.7 * peak)


def test_entropy_of_attention_is_least_where_attention_is_the_region() -> None:
    region = torch.zeros(1, 4, 4, dtype=torch.bool)
    region[0, :2] = True
    right, wrong = (torch.tensor([[[a, a], [b, b]]]) for a, b in ((0.5, 0.0), (0.25, 0.25)))
    assert attention_entropy(right, region).item() == pytest.approx(np.log(2))
    assert attention_entropy(wrong, region).item() == pytest.approx(np.log(4))


@pytest.mark.parametrize("depth", [2, 3])
def test_loss_has_the_gradient_that_differences_show(depth: int) -> None:
    method, given = annotated(depth=depth)
    lost(method, given).backward()
    directions = {name: torch.randn_like(p) for name, p in method.named_parameters() if p.grad is not None}
    expected = sum(
        float((p.grad * directions[n]).sum()) for n, p in method.named_parameters() if n in directions
    )
    values: list[float] = []
    for step in (1e-6, -2e-6):
        with torch.no_grad():
            for name, parameter in method.named_parameters():
                parameter += step * directions.get(name, torch.zeros(()))
        values.append(float(lost(method, given).detach()))
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(expected, rel=1e-4)
    assert abs(expected) > 1e-6


def test_rows_without_a_region_do_not_count() -> None:
    method, given = annotated()
    of_all = lost(method, given)
    empty = replace(given, views={**given.views, "map": given["map"][[0, 2, 2, 3]]})
    lacking = replace(given, present={"map": torch.tensor([True, False, True, True])})
    torch.testing.assert_close(lost(method, lacking), lost(method, empty))
    assert not torch.isclose(lost(method, empty), of_all)
    none = replace(given, present={"map": torch.zeros(4, dtype=torch.bool)})
    assert float(lost(method, none)) == 0


def test_weight_of_zero_is_albef() -> None:
    method, given = annotated(amc=0.0)
    other = build("albef", image=finer_vit, **PLAIN).double()
    losses: list[dict[str, Tensor]] = []
    for one in (method, other):
        torch.manual_seed(0)
        losses.append(run(one, given, LATE))
    assert losses[0].keys() == losses[1].keys()
    for name, loss in losses[0].items():
        torch.testing.assert_close(loss, losses[1][name])


def test_rows_without_a_map_are_trained_on_and_others_are_not() -> None:
    class Mapped(TinyData):
        def __init__(self) -> None:
            super().__init__()
            self.columns = {"image": "image", "text": "text", "map": "map"}

        def present(self, column: str, rows: Any) -> Any:
            return (
                np.asarray(rows) % {"map": 5, "text": 2}[column] == 0
                if column in ("map", "text")
                else rows >= 0
            )

    data = Mapped()
    rows = trained_rows("amc", data)
    assert rows.tolist() == [row for row in data.splits.train.tolist() if row % 2 == 0]


def test_maps_of_numbers_and_no_matching_are_refused() -> None:
    method = build("amc", **PLAIN)
    towers = {column: method.tower(column) for column in ("image", "text")}
    with pytest.raises(ValueError, match="one of numbers"):
        create("amc", {**towers, "map": MapPatches(MapSquare(8))}, RECIPE, **PLAIN)
    with pytest.raises(ValueError, match="and one of map, and is given"):
        create("amc", towers, RECIPE, **PLAIN)
    with pytest.raises(ValueError, match="matching=0"):
        build("amc", matching=0.0, **PLAIN)
