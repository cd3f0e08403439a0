"""DBL: a target and its anchor, from three places."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from method_stubs import READ, RECIPE, StubImage, batch, build, run, total
from torch import Tensor, nn

from counterpoint import methods
from counterpoint.losses import BoostLoss, HingeLoss
from counterpoint.types import StepInfo

F64 = torch.float64


def test_anchors_scores_relative_loss_twice_batch_times_margin() -> None:
    x, y = (F.normalize(torch.randn(9, 5, dtype=F64), dim=1) for _ in range(2))
    for margin in (0.2, 0.35):
        assert BoostLoss("relative", margin=margin)(x, y, x, y).item() == pytest.approx(2 * 9 * margin)


@pytest.mark.parametrize(("ahead", "loss"), [(0.0, 0.0), (-0.05, 4 * 5 * 0.05)])
def test_absolute_loss_ends_where_pairs_higher_negatives_lower(ahead: float, loss: float) -> None:
    # Scores of the anchor are 0; those of the target γM + ahead on the diagonal and −(1 − γ)M − ahead beside it.
    size, gamma, margin = 5, 0.25, 0.4
    own, others = gamma * margin + ahead, -(1 - gamma) * margin - ahead
    scores = torch.full((size, size), others, dtype=F64).fill_diagonal_(own)
    nothing = torch.zeros(size, 1, dtype=F64)
    found = BoostLoss("absolute", margin=margin, gamma=gamma)(
        torch.eye(size, dtype=F64), scores.T, nothing, nothing
    )
    assert found.item() == pytest.approx(loss, abs=1e-12)


def test_worst_negative_is_that_of_boost_and_of_neither_model() -> None:
    s, a = torch.tensor([[0.9, 0.8, 0.3]], dtype=F64), torch.tensor([[0.9, 0.7, 0.0]], dtype=F64)
    s = torch.cat([s, torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 1.0]], dtype=F64)])
    a = torch.cat([a, torch.eye(3, dtype=F64)[1:]])
    eye = torch.eye(3, dtype=F64)
    leaf = s.T.clone().requires_grad_()
    BoostLoss("relative", margin=0.05)(eye, leaf, eye, a.T).backward()
    # Of the first row: 0.3 against 0 is worse than 0.8 against 0.7, though 0.8 is the harder one of both models.
    assert leaf.grad is not None
    assert leaf.grad.T[0, 2] > 0
    assert leaf.grad.T[0, 1] == 0


@pytest.mark.parametrize("boost", ["relative", "absolute"])
def test_terms_two_hinges_and_boost_without_gradient_in_anchor(boost: str) -> None:
    method = build("dbl", boost=boost, weight=0.5, margin=0.3, gamma=0.4).double()
    given = batch(method, dtype=F64)
    x, y = (
        F.normalize(method.project(c, method.tower(c)(given[c]), "global"), dim=1) for c in method.columns
    )
    branch = method.anchor
    a, b = (F.normalize(branch.heads[c](branch.towers[c](given[c])), dim=1) for c in method.columns)
    losses = run(method, given)
    assert not torch.allclose(x, a)  # a start of its own
    torch.testing.assert_close(losses["hinge"], HingeLoss(0.3)(x, y))
    torch.testing.assert_close(losses["anchor"], HingeLoss(0.3)(a, b))
    torch.testing.assert_close(losses["boost"], 0.5 * BoostLoss(boost, margin=0.3, gamma=0.4)(x, y, a, b))
    of_anchor = torch.autograd.grad(losses["boost"], list(branch.parameters()), allow_unused=True)
    assert all(g is None for g in of_anchor)


def test_momentum_anchor_follows_slower_slower_evaluation_mode() -> None:
    method = build("dbl", anchor="momentum", momentum=0.9).train()
    assert not any(m.training for m in method.copy.modules())
    given = batch(method)
    assert run(method, given)["boost"].item() == pytest.approx(
        2 * len(given) * 0.2, rel=1e-5
    )  # an equal copy
    start = copy.deepcopy(method.copy.module.state_dict())
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
    method.after_step({}, given, StepInfo(4, 10))
    m = 1 - 0.1 * (1 + math.cos(math.pi / 2)) / 2
    for name, value in method.copy.module.state_dict().items():
        torch.testing.assert_close(value, start[name] + (1 - m))
    before = copy.deepcopy(method.copy.module.state_dict())
    method.after_step({}, given, StepInfo(9, 10))
    assert all(torch.equal(value, before[name]) for name, value in method.copy.module.state_dict().items())


def test_momentum_anchor_has_the_batch_statistics_of_its_target() -> None:
    # In evaluation mode it has none of its own: they would stay as they began, and its weights go on.
    class Normed(StubImage):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(self.width)

        def forward(self, images: Tensor) -> Tensor:
            return self.norm(super().forward(images))

    towers = {"image": Normed(), "text": build("dbl").text_tower}
    method = methods.create("dbl", towers, RECIPE, anchor="momentum").train()
    given = batch(method)
    run(method, given)
    method.after_step({}, given, StepInfo(4, 10))
    slow = method.copy.module.towers["image"].norm
    assert slow.running_mean.any()
    assert torch.equal(slow.running_mean, towers["image"].norm.running_mean)
    assert torch.equal(slow.running_var, towers["image"].norm.running_var)


def test_frozen_anchor_is_target_as_it_was_after_share_of_steps() -> None:
    method = build("dbl", anchor="frozen", start=0.5)
    given, seen = batch(method), []
    for step in range(6):
        losses = run(method, given, StepInfo(step, 6))
        seen.append("boost" in losses)
        if step == 3:
            assert losses["boost"].item() == pytest.approx(2 * len(given) * 0.2, rel=1e-5)
        with torch.no_grad():
            method.projections["image"].weight.add_(torch.randn(8, 12))
        if step == 2:
            then = method.projections["image"].weight.clone()
        method.after_step({}, given, StepInfo(step, 6))
    assert seen == [False] * 3 + [True] * 3
    assert torch.equal(method.copy.module.heads["image"].weight, then)
    resumed = build("dbl", anchor="frozen", start=0.5, seed=1)
    resumed.load_state_dict(method.state_dict())
    assert torch.equal(total(resumed, given), total(method, given))


def test_a_frozen_anchor_from_the_start_has_pretrained_towers() -> None:
    with pytest.raises(ValueError, match="wants the image tower pretrained, but it is 'cnn'; name weights"):
        build("dbl", anchor="frozen", start=0.0)
    method = build("dbl", recipe=READ, anchor="frozen", start=0.0)
    assert set(run(method, batch(method))) == {"hinge", "boost"}


def test_a_target_is_what_a_user_gets_and_costs_twice() -> None:
    method, alone = build("dbl"), build("hinge")
    given = batch(method)
    assert torch.equal(
        method.embed_prepared("image", given["image"]), alone.embed_prepared("image", given["image"])
    )
    assert method.passes() == {"image": 2, "text": 2}
    assert build("dbl", weight=0.0).passes() == {"image": 1, "text": 1}
