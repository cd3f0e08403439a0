"""Hydra as a method: targets that are drawn, gates of pairs of classes, and the control without gates."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, StubImage, batch, build, run

from counterpoint import methods
from counterpoint.types import Batch, Target

NONE = 3
"""The row without a class."""


@pytest.fixture
def given() -> Batch:
    whole = batch(build("hydra"), size=20, dtype=torch.float64)
    classes = torch.arange(20) % 5
    classes[NONE] = -1
    return Batch(whole.ids, whole.views, {"group": classes})


def test_arbitrary_targets_are_classes_of_batch_in_another_order(given: Batch) -> None:
    classes, method = given.labels["group"], build("hydra")
    torch.manual_seed(0)
    first, second = method.chosen(classes), method.chosen(classes)
    assert first.sort()[0].tolist() == second.sort()[0].tolist() == classes.sort()[0].tolist()
    assert first.tolist() != second.tolist()


def test_distinct_targets_other_classes_and_identical_ones_same(given: Batch) -> None:
    classes = given.labels["group"]
    assert torch.equal(build("hydra", targets="identical").chosen(classes), classes)
    torch.manual_seed(0)
    drawn = torch.stack([build("hydra", targets="distinct").chosen(classes) for _ in range(50)])
    assert (drawn[:, NONE] == -1).all()
    assert sorted(drawn[:, 0].unique().tolist()) == [1, 2, 3, 4]


@pytest.mark.parametrize("gated", [True, False])
def test_the_loss_gets_targets_and_gates(given: Batch, gated: bool) -> None:
    method = build("hydra", gated=gated).double()
    z = method.encode(given)
    views = [F.normalize(method.projections["image"](z[name]), dim=-1) for name in method.views]
    torch.manual_seed(1)
    loss = run(method, given)["hydra"]
    torch.manual_seed(1)
    classes = given.labels["group"]
    targets = method.chosen(classes)
    gates = method.gate(classes, targets) if gated else None
    expected = method.objective(*views, labels=classes, targets=targets, gates=gates)
    torch.testing.assert_close(loss, expected)
    assert (method.gate is None) == (not gated)
    if gated:
        assert method.numbers()["open_dimensions"] == pytest.approx(gates.sum(1).mean().item())
        assert 0 < method.numbers()["gate_entropy"] < 0.7
    else:
        assert method.numbers() == {}


def test_gates_of_unordered_pairs_and_say_is_open_after_training(given: Batch) -> None:
    method = build("hydra").double()
    run(method, given)["hydra"].backward()
    assert method.gate.embedding.weight.grad.norm() > 0
    method.eval()
    a, b = torch.tensor([0, 1, 2]), torch.tensor([4, 3, 2])
    torch.testing.assert_close(method.gate(a, b), method.gate(b, a))
    assert method.gate(a[:1], b[:1]).shape == (1, RECIPE.widths.ssl_output)


@pytest.mark.parametrize("target", [None, Target("group", ("a",))])
def test_it_needs_classes(target: Target | None) -> None:
    with pytest.raises(ValueError, match="hydra learns from pairs of classes"):
        methods.create("hydra", {"image": StubImage()}, RECIPE, target=target)
