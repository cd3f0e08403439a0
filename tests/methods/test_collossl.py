"""ColloSSL: the formula by loops, the choice of devices, and the traps of its release."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.methods.collossl import PARTNER, POSITIVE, WEIGHT, ColloSSL
from counterpoint.networks.towers.series import DilatedTower, Standardised
from counterpoint.pairwise.mmd import VARIANCES, mmd
from counterpoint.recipes import Recipe
from counterpoint.registry import UnknownNameError
from counterpoint.types import Batch, StepInfo

CLOCK = StepInfo(0, 1)


def method(*devices: str, **options: object) -> ColloSSL:
    tower = DilatedTower(Standardised(100, (), [0.0] * 3, [1.0] * 3), width=8, dilations=(1,))
    return ColloSSL(dict.fromkeys(devices, tower), Recipe(), **options).double()  # type: ignore[arg-type]


def batch(size: int = 6, seed: int = 0, **series: Tensor) -> Batch:
    return Batch(torch.arange(size), series)


def devices(size: int = 6, seed: int = 0) -> dict[str, Tensor]:
    """An anchor, a device that is nearly the same, and one that is not like it."""
    generator = torch.Generator().manual_seed(seed)
    wrist = torch.randn(size, 20, 3, generator=generator, dtype=torch.float64)
    near = wrist + 1e-5 * torch.randn(size, 20, 3, generator=generator, dtype=torch.float64)
    return {"wrist": wrist, "hip": 4 * wrist.flip(1), "ankle": near}


def test_the_discrepancy_is_that_of_loops() -> None:
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)

    def kernel(a: Tensor, b: Tensor) -> float:
        return sum(math.exp(-float((a - b).square().sum()) / (2 * s)) for s in VARIANCES)

    def mean(a: Tensor, b: Tensor) -> float:
        return float(np.mean([[kernel(u, v) for v in b] for u in a]))

    assert float(mmd(x, y)) == pytest.approx(mean(x, x) + mean(y, y) - 2 * mean(x, y), rel=1e-9)
    assert float(mmd(x, x)) == pytest.approx(0, abs=1e-9)


def test_the_loss_is_that_of_loops() -> None:
    model = method("wrist", "hip", "ankle", positive="closest", temperature=0.5, cap=3.0)
    given = model.prepare(batch(**devices()), CLOCK)
    z = {name: x.detach() for name, x in model.encode(given).items()}
    unit = {name: x / x.norm(dim=1, keepdim=True) for name, x in z.items()}
    apart = model.discrepancies(given)
    found = model.losses(z, given, CLOCK)["collossl"]
    terms = []
    for i, j in enumerate(given[PARTNER].tolist()):
        same = math.exp(float(unit["wrist"][i] @ unit["ankle"][i]) / 0.5)
        others = [
            min(1 / apart[device], 3.0) * math.exp(float(unit["wrist"][i] @ unit[device][j]) / 0.5)
            for device in ("hip", "ankle")
        ]
        terms.append(-math.log(same / (same + sum(others))))
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-9)


def test_positives_are_pulled_together() -> None:
    model = method("wrist", "ankle", temperature=0.5)
    anchor = torch.eye(4, dtype=torch.float64)
    arguments = (torch.tensor([1, 2, 3, 0]), torch.ones(4, 1, dtype=torch.bool), torch.ones(4, 1))
    agreeing, opposed = (model.objective(anchor, sign * anchor[:, None], *arguments) for sign in (1, -1))
    assert agreeing < opposed


def test_closest_device_is_the_positive_and_weights_are_capped() -> None:
    model = method("wrist", "hip", "ankle", cap=50.0)
    given = model.prepare(batch(**devices()), CLOCK)
    assert model.others == ("hip", "ankle")
    assert given[POSITIVE].tolist() == [[False, True]] * 6
    apart = model.discrepancies(given)
    assert 1 / apart["ankle"] > 50 > 1 / apart["hip"]
    assert given[WEIGHT][0].tolist() == pytest.approx([1 / apart["hip"], 50.0])
    both = method("wrist", "hip", "ankle", positive="all").prepare(batch(**devices()), CLOCK)
    assert both[POSITIVE].all()


def test_a_random_positive_is_another_one_now_and_then() -> None:
    model = method("wrist", "hip", "ankle", positive="random")
    chosen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        chosen.add(tuple(model.prepare(batch(**devices()), CLOCK)[POSITIVE][0].tolist()))
    assert chosen == {(True, False), (False, True)}


@pytest.mark.parametrize("size", [2, 3, 7])
def test_no_row_is_its_own_negative(size: int) -> None:
    model = method("wrist", "ankle")
    there = {name: x for name, x in devices(size).items() if name != "hip"}
    for seed in range(30):
        torch.manual_seed(seed)
        partner = model.prepare(batch(size, **there), CLOCK)[PARTNER]
        assert sorted(partner.tolist()) == list(range(size))
        assert (partner != torch.arange(size)).all()


def test_a_batch_of_one_has_no_negatives_and_a_loss_of_0() -> None:
    model = method("wrist", "ankle")
    there = {name: x for name, x in devices(1).items() if name != "hip"}
    given = model.prepare(batch(1, **there), CLOCK)
    loss = model.losses(model.encode(given), given, CLOCK)["collossl"]
    assert loss.item() == 0
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_gaps_in_a_series_are_no_acceleration() -> None:
    there = {name: x for name, x in devices().items() if name != "hip"}
    longer = {name: torch.cat([x, torch.full((6, 5, 3), torch.nan)], 1) for name, x in there.items()}
    model = method("wrist", "ankle")
    # The zero of a step behind the end is alike in both, so that nothing changes.
    assert model.discrepancies(batch(**longer)) == pytest.approx(model.discrepancies(batch(**there)))


def test_all_devices_show_the_same_time() -> None:
    model = method("wrist", "hip", "ankle", anchor="hip")
    assert {column: view.like for column, view in model.views.items()} == {
        "wrist": "hip",
        "hip": "",
        "ankle": "hip",
    }


def test_what_it_does_not_take_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="ankel"):
        method("wrist", "ankle", anchor="ankel")
    columns = {"wrist": "series", "hip": "series", "text": "text"}
    assert list(ColloSSL.needs.choose("collossl", columns)) == ["wrist", "hip"]
    with pytest.raises(ValueError, match="takes columns of series alone, and is given text"):
        ColloSSL.needs.choose("collossl", columns, ("wrist", "text"))
    with pytest.raises(ValueError, match="2 or more columns, and there is 1"):
        ColloSSL.needs.choose("collossl", {"wrist": "series", "text": "text"})
