"""Supervised contrast on ranges of a number: the contrast of the ranges' indices, whatever the number's unit."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, batch, build, run
from torch import Tensor

from counterpoint import methods
from counterpoint.data.bins import bin_of, edges_of
from counterpoint.losses import SupConLoss
from counterpoint.types import Batch, StepInfo

F64 = torch.float64
TAU = 0.3
NUMBERS = torch.tensor([0.0, 0.1, 0.49, 0.51, 0.9, 1.0, torch.nan, 0.26, 0.24, 0.76, 0.6, 0.61], dtype=F64)


def examples(numbers: Tensor) -> SimpleNamespace:
    return SimpleNamespace(
        ids=torch.arange(len(numbers)), labels={"number": numbers}, map=lambda function: None
    )


def contrast(method: methods.SingleLoss, given: Batch, classes: Tensor) -> Tensor:
    z = method.encode(given)
    views = [F.normalize(method.projections["image"](z[name]), dim=-1) for name in method.views]
    return SupConLoss(TAU)(*views, labels=classes)


@pytest.mark.parametrize("unit", [1.0, 365.25, 1e-6])
def test_it_is_supcon_with_the_ranges_as_classes_in_any_unit(unit: float) -> None:
    method = build("supcon-bins", bins=4, temperature=TAU).double()
    given = batch(method, 12, dtype=F64)
    given = replace(given, labels={"number": unit * NUMBERS})
    method.on_epoch_start(examples(unit * NUMBERS), StepInfo(0, 10))
    classes = torch.tensor([0, 0, 1, 2, 3, 3, -1, 1, 0, 3, 2, 2])
    torch.testing.assert_close(run(method, given)["supcon-bins"], contrast(method, given, classes))


def test_few_numbers_are_class_each_and_others_go_to_the_nearest() -> None:
    method = build("supcon-bins", bins=4).double()
    method.on_epoch_start(examples(torch.tensor([0.0, 10.0, 10.0, 1.0], dtype=F64)), StepInfo(0, 10))
    numbers = torch.tensor([-5.0, 0.0, 0.4, 1.0, 2.0, 10.0, 99.0, torch.nan], dtype=F64)
    found = method.loss_inputs({}, Batch(torch.arange(8), {}, {"number": numbers}))["labels"]
    assert found.tolist() == [0, 0, 0, 1, 1, 2, 2, -1]
    again = build("supcon-bins", bins=4).double()
    again.load_state_dict(method.state_dict())
    assert torch.equal(again.edges, method.edges), "a run that goes on knows its ranges"


def test_ranges_are_those_that_errors_are_told_by() -> None:
    numbers = np.random.default_rng(0).normal(size=200)
    method = build("supcon-bins").double()
    method.on_epoch_start(examples(torch.from_numpy(numbers)), StepInfo(0, 10))
    found = method.loss_inputs({}, Batch(torch.arange(200), {}, {"number": torch.from_numpy(numbers)}))[
        "labels"
    ]
    assert found.tolist() == bin_of(numbers, edges_of(numbers)).tolist()
    assert found.max() == 19


def test_it_asks_for_a_label() -> None:
    with pytest.raises(ValueError, match="name a label of numbers with --labels NAME"):
        methods.create("supcon-bins", dict(build("cross-entropy").towers), RECIPE)
