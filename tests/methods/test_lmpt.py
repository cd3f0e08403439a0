"""LMPT: its loss by a plain loop, and what captions and contexts are read for."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from method_stubs import TAGS, All, build, loaded
from torch import Tensor

from counterpoint.losses import ClassEmbeddingLoss
from counterpoint.types import Batch, StepInfo

F64 = torch.float64


def fitted(given: Batch, **options: Any) -> Any:
    method = build("lmpt", vectors=1, steps=1, lr=1.0, **options).double().eval()
    torch.manual_seed(0)
    with torch.no_grad():
        method.on_epoch_start(All(given), StepInfo(0, 1))
    return method


@pytest.fixture(scope="module")
def given() -> Batch:
    return loaded(build("lmpt"), 20, dtype=F64)


def plain_loss(method: Any, given: Batch, context: Tensor, weight: float, start: float) -> Tensor:
    """The card's loss of all rows as a loop over single numbers, with an intercept."""
    tags = given.labels["tags"]
    rows = [i for i in range(len(tags)) if (tags[i] >= 0).any()]
    with torch.no_grad():
        v = method.shared(method.features("image", given["image"]))
        y = method.projected_texts(method.text_tower.compute(given["text"]))
    prompts = method.prompts.prompts(method.text_tower, TAGS.classes)
    t = method.projected_texts(method.prompts.features(method.text_tower, prompts, context))
    n = [int((tags[:, c] == 1).sum()) for c in range(3)]
    f = [n[c] / int((tags[rows, c] >= 0).sum()) for c in range(3)]
    omega = [n_c**-2.0 / sum(each**-2.0 for each in n) for n_c in n]
    loss = torch.zeros((), dtype=F64)
    for i in rows:
        own = sum(1 / f[c] for c in range(3) if tags[i, c] == 1)
        for c in range(3):
            if tags[i, c] < 0:
                continue
            w = 0.1 + (1 / (1 + math.exp(-10 * (1 / f[c] / own - 0.2))) if own else 1.0)
            s = v[i] @ t[c] / 0.07 + start - 0.05 * math.log(1 / f[c] - 1) / 2
            p = s.sigmoid() if tags[i, c] == 1 else (-2 * s).sigmoid()
            w = w if tags[i, c] == 1 else w / 2
            distance = 1 - y[i] @ t[c]
            hinge = distance if tags[i, c] == 1 else (0.2 / n[c] ** 0.25 - distance).clamp_min(0)
            loss = loss + weight * 2 * w * (1 - p) ** 2 * -p.log() / 3 + (1 - weight) * omega[c] * hinge
    return loss / len(rows)


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_one_step_is_that_of_the_plain_loss(given: Batch, weight: float) -> None:
    method = fitted(given, weight=weight)
    start = build("lmpt", vectors=1).double().eval()
    torch.manual_seed(0)
    with torch.no_grad():
        start.begin()
        v = start.shared(start.features("image", given["image"]))
        known = (given.labels["tags"] >= 0).any(1)
        start.calibrate(v[known], given.labels["tags"][known])
    before = start.prompts.context.detach().clone().requires_grad_(True)
    assert before.shape[:2] == (3, 1)
    loss = plain_loss(start, given, before, weight, float(start.intercept))
    (gradient,) = torch.autograd.grad(loss, before)
    assert gradient.flatten(1).norm(dim=1).gt(1e-6).all()
    expected = before - gradient - 1e-4 * before
    torch.testing.assert_close(method.prompts.context, expected.detach(), rtol=1e-5, atol=1e-7)


def test_without_their_weight_captions_have_no_effect(given: Batch) -> None:
    other = Batch(given.ids, {**given.views, "text": given["text"].flip(0)}, given.labels)
    one, same = fitted(given, weight=1.0), fitted(other, weight=1.0)
    assert torch.equal(one.prompts.context, same.prompts.context)
    moved, shuffled = fitted(other), fitted(given, shuffled=True)
    of_captions = fitted(given)
    assert not torch.equal(moved.prompts.context, of_captions.prompts.context)
    assert not torch.equal(shuffled.prompts.context, of_captions.prompts.context)


def test_released_logits_have_no_intercept_while_learning(given: Batch) -> None:
    one, other = fitted(given), fitted(given, intercept=False)
    assert not torch.equal(one.prompts.context, other.prompts.context)
    assert float(other.intercept) != 0  # set after the fit, for probabilities


def test_pulls_the_captions_of_a_class_and_pushes_near_ones_of_others() -> None:
    bank = torch.tensor([[0.8, 0.6]], dtype=F64, requires_grad=True)
    captions = torch.tensor([[1.0, 0.0]], dtype=F64)
    loss = ClassEmbeddingLoss(margin=0.5)
    for applies, sign in ((True, -1), (False, 1)):
        (gradient,) = torch.autograd.grad(
            loss(captions, bank, torch.ones(1), targets=torch.tensor([[applies]])), bank
        )
        assert torch.sign(gradient[0, 0]) == sign
    far = loss(
        captions, torch.tensor([[0.0, 1.0]], dtype=F64), torch.ones(1), targets=torch.tensor([[False]])
    )
    assert far == 0
