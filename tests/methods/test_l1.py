"""Regression by L1: the formula, what has no number, and the scale that training numbers give."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from method_stubs import RECIPE, batch, build, run

from counterpoint import methods
from counterpoint.types import StepInfo

START = StepInfo(0, 10)


def examples(*numbers: float) -> SimpleNamespace:
    return SimpleNamespace(
        ids=torch.arange(len(numbers)), labels={"number": torch.tensor(numbers)}, map=lambda function: None
    )


def test_the_loss_is_the_distance_to_the_standardised_number() -> None:
    method = build("l1").double()
    given = batch(method, 12, dtype=torch.float64)
    method.on_epoch_start(examples(1.0, 5.0, torch.nan), START)
    z = method.encode(given)["image"]
    said = z @ method.head.weight[0] + method.head.bias
    loss = (said - (given.labels["number"] - 3) / 2).abs().mean()
    torch.testing.assert_close(run(method, given)["l1"], loss)


def test_an_example_without_a_number_counts_for_nothing() -> None:
    method = build("l1").double()
    given = batch(method, 12, dtype=torch.float64)
    number = given.labels["number"].clone()
    number[3::4] = torch.nan
    some, nobody = (
        replace(given, labels={"number": n}) for n in (number, torch.full_like(number, torch.nan))
    )
    z, known = method.encode(given)["image"], number.isfinite()
    said = z @ method.head.weight[0] + method.head.bias
    torch.testing.assert_close(run(method, some)["l1"], (said - number)[known].abs().mean())
    loss = run(method, nobody)["l1"]
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or p.grad.eq(0).all() for p in method.parameters())


def test_numbers_that_are_all_same_are_not_divided_by_nothing() -> None:
    method = build("l1")
    method.on_epoch_start(examples(4.0, 4.0), START)
    assert method.scale.tolist() == [4.0, 1.0]


def test_it_asks_for_a_label() -> None:
    with pytest.raises(ValueError, match="name a label of numbers with --labels NAME"):
        methods.create("l1", dict(build("cross-entropy").towers), RECIPE)
