"""BYOL and its self-labelled form."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, batch, build
from torch import Tensor, nn

from counterpoint.losses import CrossSimilarityLoss, NegativeCosineLoss
from counterpoint.types import StepInfo

F64 = torch.float64
FIRST = StepInfo(0, 2000)


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64), dim=-1)


def step(method: Any, given: Any, clock: StepInfo) -> Tensor:
    z = {**method.targets(given), **method.encode(given)}
    loss: Tensor = method.losses(z, given, clock)["byol"]
    return loss


def test_the_distance_is_lightlys() -> None:
    lightly: Any = pytest.importorskip("lightly.loss.negative_cosine_similarity")
    p, v = unit(6, 4), unit(6, 4, seed=1)
    torch.testing.assert_close(
        NegativeCosineLoss()(p, v), 2 + 2 * lightly.NegativeCosineSimilarity()(3 * p, v)
    )


def test_is_the_papers_loop() -> None:
    method = build("byol", momentum=0.9).double()
    online, predictor = nn.Sequential(method.image_tower, method.projection), method.predictor
    slow = copy.deepcopy(online)
    given = batch(method, 6, dtype=F64)
    p = [predictor(online(given[view])) for view in method.views]
    with torch.no_grad():
        v = [slow(given[view]) for view in method.views]
    expected = 4 - 2 * sum(F.cosine_similarity(a, b).mean() for a, b in zip(p, reversed(v), strict=True))
    torch.testing.assert_close(step(method, given, LATE), expected)
    with torch.no_grad():
        for weight in online.parameters():
            weight.add_(1)
    before = [weight.clone() for weight in method.momentum.module.parameters()]
    method.after_step({}, given, LATE)
    m = 1 - 0.1 / 2  # half of the steps are over
    for late, old, now in zip(method.momentum.module.parameters(), before, online.parameters(), strict=True):
        torch.testing.assert_close(late, m * old + (1 - m) * now)
    assert method.passes() == {"image": 4}


def loops(p: Tensor, v: Tensor, kind: str, w: float = 0.0) -> float:
    """The card's formula, number by number."""
    attraction, repulsion = [], []
    for i in range(len(p)):
        for j in range(len(v)):
            s = p[i] @ v[j]
            u = s if kind == "cosine" else (s / 0.2).sigmoid()
            if i == j or u >= 0.4:
                attraction.append(2 - 2 * s if kind == "cosine" else -u.log())
            elif u <= 0.1:
                repulsion.append(s.clamp_min(0) ** 2 if kind == "cosine" else -(1 - u).log())
    if kind == "cosine":
        return float(sum(attraction) / len(attraction) + w * sum(repulsion) / len(repulsion))
    return float(sum(attraction + repulsion) / len(attraction + repulsion))


@pytest.mark.parametrize(("kind", "w"), [("cosine", 0.0), ("cosine", 0.5), ("sigmoid", 0.0)])
def test_self_labelling_is_the_sum_over_thresholded_pairs(kind: Any, w: float) -> None:
    p, v = unit(9, 4), unit(9, 4, seed=1)
    loss = CrossSimilarityLoss(kind, positive=0.4, negative=0.1, repulsion=w)
    assert float(loss(p, v)) == pytest.approx(loops(p, v, kind, w), rel=1e-12)


def test_no_gradient_reaches_target_or_goes_through_the_choice() -> None:
    p, v = unit(6, 4).requires_grad_(), unit(6, 4, seed=1).requires_grad_()
    loss = CrossSimilarityLoss(positive=0.3)
    loss(p, v).backward()
    assert v.grad is None
    with torch.no_grad():
        chosen = (p @ v.T >= 0.3) | torch.eye(6, dtype=torch.bool)
    assert p.grad is not None
    torch.testing.assert_close(p.grad, -2 * chosen.double() @ v.detach() / chosen.sum())


def test_where_no_pair_passes_it_is_byol_and_so_is_batch_of_one() -> None:
    for p, v in ((unit(5, 6), unit(5, 6, seed=1)), (unit(1, 6), unit(1, 6, seed=1))):
        loss = CrossSimilarityLoss(positive=1.0)
        torch.testing.assert_close(loss(p, v), NegativeCosineLoss()(p, v), rtol=1e-14, atol=0)
        assert loss.share == 0


def test_collapsed_features_pass_pairs_logged_begins_after_warm() -> None:
    method, plain = (
        build("byol", self_label="cosine", positive=-1.0, negative=-1.0).double(),
        build("byol").double(),
    )
    given = batch(method, 5, dtype=F64)
    assert step(method, given, FIRST).equal(step(plain, given, FIRST))
    assert method.numbers() == {}
    assert not step(method, given, LATE).equal(step(plain, given, LATE))
    assert method.numbers() == {"self_labelled": 1.0}
    assert plain.numbers() == {}


def test_norms_can_be_left_off_and_thresholds_must_be_in_order() -> None:
    assert any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in build("byol").modules())
    assert not any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) for m in build("byol", norm=False).modules()
    )
    with pytest.raises(ValueError, match=r"negative=0.9 is above positive=0.8"):
        build("byol", self_label="sigmoid", negative=0.9)
