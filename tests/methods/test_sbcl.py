"""SBCL as a method: SupCon until subclasses are found, their sizes, temperatures by density, and the control."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from method_stubs import FIVE, batch, build, run
from torch import Tensor

from counterpoint.methods.sbcl import split, warmth
from counterpoint.types import Batch, StepInfo


class All:
    """All examples, in batches of another length each."""

    def __init__(self, given: Batch) -> None:
        view = Batch(given.ids, {"image": given["image.1"]}, given.labels)
        self.batch, self.ids, self.labels = view, given.ids, given.labels

    def map(self, function: Callable[[Batch], Tensor]) -> Tensor:
        return torch.cat([function(part) for part in self.batch.split(5)])


def looked(given: Batch, epoch: int = 10, **options: Any) -> Any:
    method = build("sbcl", target=FIVE, smallest=1, **options).double()
    method.eval()
    with torch.no_grad():
        method.on_epoch_start(All(given), StepInfo(0, 100, epoch))
    return method.train()


@pytest.fixture
def given() -> Batch:
    whole = batch(build("sbcl"), size=24, dtype=torch.float64)
    classes = torch.tensor([0] * 12 + [1] * 7 + [2] * 3 + [-1] * 2)
    return Batch(whole.ids, whole.views, {"group": classes})


def test_it_is_supcon_until_subclasses_are_found(given: Batch) -> None:
    supcon = run(build("supcon", on="images", target=FIVE).double(), given)["supcon"]
    for method in (build("sbcl", target=FIVE).double(), looked(given, epoch=9)):
        assert method.items.ids.tolist() == [torch.iinfo(torch.int64).max]
        torch.testing.assert_close(run(method, given)["sbcl"], supcon)


def test_it_supcon_where_class_one_subclass_and_nothing_coarse(given: Batch) -> None:
    method = looked(given, beta=0.0)
    method.items.subclass[:-1] = given.labels["group"][given.ids.argsort()][
        given.labels["group"][given.ids.argsort()] >= 0
    ].float()
    supcon = run(build("supcon", on="images", target=FIVE).double(), given)["supcon"]
    torch.testing.assert_close(run(method, given)["sbcl"], supcon)


@pytest.mark.parametrize("by", ["clusters", "random"])
def test_subclasses_are_as_large_as_the_smallest_class(given: Batch, by: str) -> None:
    method = looked(given, subclasses=by)
    numbers, temperatures = method.items.recall(given.ids)
    sizes = [numbers[given.labels["group"] == k].unique(return_counts=True)[1].tolist() for k in range(3)]
    assert sizes == [[3, 3, 3, 3], [4, 3], [3]] or sizes == [[3, 3, 3, 3], [3, 4], [3]]
    assert len(numbers[given.labels["group"] >= 0].unique()) == 7
    assert (numbers[given.labels["group"] < 0] == -1).all()
    alone = given.labels["group"] == 2
    assert temperatures[alone].tolist() == pytest.approx([0.1] * 3)
    assert len(temperatures[~alone & (given.labels["group"] >= 0)].unique()) == 2


def test_the_loss_gets_what_was_stored(given: Batch) -> None:
    method = looked(given)
    numbers, temperatures = method.items.recall(given.ids)
    z = method.encode(given)
    views = [F.normalize(method.projections["image"](z[name]), dim=-1) for name in method.views]
    expected = method.objective(
        *views, labels=given.labels["group"], subclasses=numbers.long(), temperatures=temperatures
    )
    torch.testing.assert_close(run(method, given)["sbcl"], expected)


def test_temperatures_follow_the_spread_of_classes() -> None:
    g = torch.Generator().manual_seed(0)
    z = torch.cat([0.1 * torch.randn(20, 4, generator=g), torch.randn(20, 4, generator=g)])
    classes = torch.arange(2).repeat_interleave(20)
    factors = warmth(z, classes, torch.arange(4).repeat_interleave(10))
    phi = torch.stack(
        [(z[k] - z[k].mean(0)).norm(dim=1).mean() / math.log(30) for k in (classes == 0, classes == 1)]
    )
    phi = phi.clamp(0.5 * phi.mean(), 2 * phi.mean())
    torch.testing.assert_close(factors[[0, 20]], phi / phi.mean())
    assert warmth(z, classes, classes).tolist() == [1.0] * 40
    assert warmth(torch.ones(40, 4), classes, torch.arange(4).repeat_interleave(10)).tolist() == [1.0] * 40


def test_spreads_of_ten_classes_cut_at_20th_and_80th_percentiles() -> None:
    z = torch.cat(
        [
            k * torch.randn(20, 4, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
            for k in range(1, 13)
        ]
    )
    classes = torch.arange(12).repeat_interleave(20)
    factors = warmth(z, classes, torch.arange(24).repeat_interleave(10))[::20].numpy()
    each = [(part - part.mean(0)).norm(dim=1).mean().item() / math.log(30) for part in z.split(20)]
    phi = np.clip(each, np.percentile(each, 20), np.percentile(each, 80))
    np.testing.assert_allclose(factors, phi / phi.mean())


def test_sizes_are_no_smaller_than_asked() -> None:
    classes = torch.tensor([0] * 20 + [1] * 2)
    numbers = split(torch.randn(22, 3), classes, 5, seed=0, by="clusters")
    assert numbers.bincount().tolist() == [5, 5, 5, 5, 2]
