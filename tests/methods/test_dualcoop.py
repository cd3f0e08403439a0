"""DualCoOp by a plain loop: its pooling, its loss, and a step of the fit."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import TAGS, All, build, loaded
from torch import Tensor

from counterpoint.methods.dualcoop import pooled_margin, tag_loss
from counterpoint.types import Batch, StepInfo

F64 = torch.float64
LOSS = {"gamma_positive": 1.0, "gamma_negative": 2.0, "margin": 0.05}


@pytest.fixture(scope="module")
def given() -> Batch:
    return loaded(build("lmpt"), 20, dtype=F64)


def started(**options: Any) -> Any:
    method = build("dualcoop", vectors=1, **options).double().eval()
    torch.manual_seed(0)
    with torch.no_grad():
        method.begin()
    return method


def scores(method: Any, given: Batch) -> Tensor:
    with torch.no_grad():
        return method.logits(method.encode(given), given)


def test_scores_by_a_loop(given: Batch) -> None:
    method = started()
    tower, head = method.image_tower, method.projections["image"]
    with torch.no_grad():
        maps = tower.patches(given["image"]).flatten(2)
        places = torch.cat([tower(given["image"])[:, :, None], maps], 2)
        expected = torch.zeros(len(places), 3, dtype=F64)
        for row in range(len(places)):
            f = [F.normalize(head(places[row, :, place]), dim=0) for place in range(places.shape[2])]
            for c in range(3):
                weights = [math.exp(20 * float(each @ method.texts[c])) for each in f]
                z = [
                    5
                    * sum(w / sum(weights) * 20 * float(each @ t) for w, each in zip(weights, f, strict=True))
                    for t in (method.negative_texts[c], method.texts[c])
                ]
                p = math.exp(z[1]) / (math.exp(z[0]) + math.exp(z[1]))
                expected[row, c] = p
    torch.testing.assert_close(method.probabilities(scores(method, given)), expected, rtol=1e-5, atol=1e-6)


def test_one_patch_is_global_pooling(given: Batch) -> None:
    method = started(reads="feature")
    with torch.no_grad():
        v = method.shared(method.features("image", given["image"]))
        expected = 100 * v @ (method.texts - method.negative_texts).T
    torch.testing.assert_close(scores(method, given), expected)
    assert not torch.allclose(scores(started(), given), expected)


def test_weights_follow_the_positive_prompt_and_take_gradients() -> None:
    patches = F.normalize(torch.randn(1, 4, 6, dtype=F64, generator=torch.Generator().manual_seed(0)), dim=-1)
    positive, negative = patches[0, :1].clone().requires_grad_(True), patches[0, 1:2]
    (gradient,) = torch.autograd.grad(pooled_margin(patches, positive, negative).sum(), positive)
    weights = (20 * patches[0] @ positive[0]).softmax(0).detach()
    detached = 100 * weights @ patches[0]
    assert not torch.allclose(gradient[0], detached)
    difference = patches[0] @ (positive[0] - negative[0]).detach()
    of_weights = 100 * 20 * ((weights * (difference - weights @ difference)) @ patches[0])
    torch.testing.assert_close(gradient[0], detached + of_weights)


def test_loss_by_a_loop_and_its_gradient_without_focusing() -> None:
    labels = torch.tensor([[1, 0, -1], [0, 1, 0]])
    margins = torch.tensor([[0.3, -4.0, 9.0], [1.2, -0.7, -2.0]], dtype=F64, requires_grad=True)
    loss = tag_loss(margins, labels, **LOSS)
    expected, slopes = 0.0, torch.zeros(2, 3, dtype=F64)
    for i in range(2):
        for c in range(3):
            p = 1 / (1 + math.exp(-margins[i, c].item()))
            if labels[i, c] == 1:
                expected -= (1 - p) * math.log(p)
                slopes[i, c] = -(1 - p) * (1 - p)
            elif labels[i, c] == 0 and 1 - p + 0.05 < 1:
                q = 1 - p + 0.05
                expected -= (1 - q) ** 2 * math.log(q)
                slopes[i, c] = (1 - q) ** 2 * p * (1 - p) / q
    assert loss.item() == pytest.approx(expected)
    torch.testing.assert_close(torch.autograd.grad(loss, margins)[0], slopes)


def test_without_a_known_tag_the_loss_is_zero_with_a_gradient() -> None:
    margins = torch.randn(2, 3, requires_grad=True)
    loss = tag_loss(margins, torch.full((2, 3), -1), **LOSS)
    (gradient,) = torch.autograd.grad(loss, margins)
    assert loss.item() == 0
    assert not gradient.any()


def test_one_step_moves_both_prompts_down_the_loss(given: Batch) -> None:
    start, method = started(), build("dualcoop", vectors=1, steps=1, epochs=1, lr=0.01, weight=0.5).double()
    before = [
        learner.context.detach().clone().requires_grad_(True) for learner in (start.positive, start.negative)
    ]
    labels = given.labels["tags"]
    rows = (labels >= 0).any(1)
    with torch.no_grad():
        patches = start._patches(start.encode(given)["image"])[rows]
    texts = []
    for context in before:
        prompts = start.positive.prompts(start.text_tower, TAGS.classes)
        said = start.positive.features(start.text_tower, prompts, context.expand(3, -1, -1))
        texts.append(start.projected_texts(said))
    loss = 0.5 * tag_loss(pooled_margin(patches, *texts), labels[rows], **LOSS)
    gradients = torch.autograd.grad(loss, before)
    torch.manual_seed(0)
    with torch.no_grad():
        method.eval().on_epoch_start(All(given), StepInfo(0, 1))
    learners = (method.positive, method.negative)
    for learner, context, gradient in zip(learners, before, gradients, strict=True):
        assert gradient.norm() > 1e-4
        step = (context.detach() - learner.context) / 1e-5  # the rate of the first epoch
        torch.testing.assert_close(step, gradient, rtol=1e-4, atol=1e-7)


def test_names_that_it_has_not_learned_have_both_prompts(given: Batch) -> None:
    method = started()
    turned = method.renamed(TAGS.classes[::-1])
    torch.testing.assert_close(scores(turned, given), scores(method, given).flip(1))
    assert method.renamed(("cat",)).negative_texts.shape == (1, method.width)
