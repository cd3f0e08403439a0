"""LUAB: the click of a picture in its view, clicks that do not count, and the limit that is cross-entropy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from method_stubs import LATE, batch, build, run, total
from torch import Tensor

from counterpoint.data.labels import Points
from counterpoint.methods import Arm
from counterpoint.registry import UnknownNameError
from counterpoint.training.run import target_of
from counterpoint.types import Batch
from fixtures.tiny import TinyData


def given_clicks(method: torch.nn.Module, clicks: Tensor) -> Batch:
    """Views that are the left halves of their pictures, of every second one mirrored, and clicks in the pictures."""
    whole = batch(method, len(clicks), dtype=torch.float64)
    half = torch.tensor([[0.5, 0.0, 0.0], [0.0, 1.0, 0.0]]).double()
    mirrored = torch.tensor([[-0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]).double()
    frames = torch.stack([mirrored if row % 2 else half for row in range(len(clicks))])
    return replace(whole, frames={"image": frames}, labels={**whole.labels, "click": clicks.double()})


CLICKS = torch.tensor([[0.1, 0.3], [0.1, 0.3], [0.5, 1.0], [0.6, 0.3], [torch.nan, torch.nan]])
"""In the view of both kinds, at its edge, outside, and unknown."""


def test_term_over_clicks_lie_in_views_and_are_carried_into_them() -> None:
    method = build("luab", weight=3.0).double()
    given = given_clicks(method, CLICKS)
    said = method.pointer(method.encode(given)["image"])
    expected = torch.zeros((), dtype=torch.float64)
    for row, point in enumerate([(0.2, 0.3), (0.8, 0.3), (1.0, 1.0)]):
        for axis in range(2):
            u = abs(said[row, axis] - point[axis])
            expected = expected + (u**2 / 2 if u < 1 else u - 0.5)
    torch.testing.assert_close(run(method, given)["click"], 3 * expected / (2 * 3))


def test_clicks_outside_the_view_or_unknown_weigh_nothing() -> None:
    method = build("luab").double()
    seen = run(method, given_clicks(method, CLICKS[:3]))["click"]
    torch.testing.assert_close(run(method, given_clicks(method, CLICKS))["click"], seen)
    given = given_clicks(method, torch.full((6, 2), torch.nan))
    total(method, given).backward()
    assert run(method, given)["click"].item() == 0
    assert not method.pointer.weight.grad.any()
    assert all(p.grad.isfinite().all() for p in method.parameters())


def test_clicks_of_pictures_without_a_class_count() -> None:
    method = build("luab").double()
    given = given_clicks(method, CLICKS)
    hidden = replace(given, labels={**given.labels, "group": torch.full((5,), -1)})
    losses = run(method, hidden)
    assert losses["cross_entropy"].item() == 0
    assert losses["click"].equal(run(method, given)["click"])


def test_without_weight_it_is_cross_entropy_to_the_last_bit() -> None:
    method, plain = build("luab", weight=0.0).double(), build("cross-entropy").double()
    given = batch(method, 12, dtype=torch.float64)
    for each in (method, plain):
        total(each, given).backward()
    assert total(method, given).equal(total(plain, given))
    own = dict(method.named_parameters())
    assert all(own[name].grad.equal(p.grad) for name, p in plain.named_parameters())
    assert (method.passes(), method.columns) == (plain.passes(), plain.columns)


def test_place_must_be_in_features_that_classes_are_read_from() -> None:
    method = build("luab")
    run(method, batch(method))["click"].backward()
    assert method.image_tower.linear.weight.grad.any()


def test_by_chance_a_click_stands_elsewhere_and_stays_there() -> None:
    method = build("luab", chance=True).double()
    given = given_clicks(method, CLICKS)
    term = run(method, given)["click"]
    moved = replace(given, labels={**given.labels, "click": CLICKS.double().flip(1)})
    assert run(method, moved)["click"].equal(term)
    assert not run(build("luab").double(), given)["click"].equal(term)
    turned = given.map(lambda tensor: tensor.flip(0))
    torch.testing.assert_close(run(method, turned, LATE)["click"], term)
    nobody = given_clicks(method, torch.full((5, 2), torch.nan))
    assert run(method, nobody)["click"].item() == 0


def test_what_it_cannot_learn_from_is_refused() -> None:
    data = TinyData()
    data.labels = {**data.labels, "click": Points(np.full((70, 2), 0.5))}
    assert target_of(Arm.parse("luab"), "subgroup", data).label == "subgroup"
    with pytest.raises(UnknownNameError, match="unknown label 'clicks': did you mean 'click'"):
        target_of(Arm.parse("luab,points=clicks"), "", data)
    with pytest.raises(ValueError, match=r"tone.*classes.*points"):
        target_of(Arm.parse("luab,points=tone"), "", data)
    with pytest.raises(ValueError, match="luab takes a column of image"):
        Arm.parse("luab,on=texts").reads()
    with pytest.raises(UnknownNameError, match="mixup"):
        build("luab", mixup=0.2)
