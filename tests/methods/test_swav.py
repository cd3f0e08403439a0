"""SwAV: lightly's loss, the paper's rules, and crops of two sizes through one tower."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, batch, build
from torch import Tensor

from counterpoint.losses import SwALIPPrototypesLoss, SwAVLoss
from counterpoint.methods.arm import Arm
from counterpoint.pairwise import moments
from counterpoint.recipes import load
from counterpoint.types import StepInfo

F64 = torch.float64
FIRST = StepInfo(0, 2000)


@pytest.fixture(scope="module")
def lightly() -> Any:
    """Lightly's module of the loss, where lightly is installed."""
    return pytest.importorskip("lightly.loss.swav_loss")


def scores(count: int, rows: int = 12, k: int = 5, seed: int = 0) -> list[Tensor]:
    drawn = torch.randn(count, rows, 8, generator=torch.Generator().manual_seed(seed), dtype=F64)
    centres = torch.randn(k, 8, generator=torch.Generator().manual_seed(9), dtype=F64)
    return [F.normalize(z, dim=1) @ F.normalize(centres, dim=1).T for z in drawn]


def test_codes_are_lightlys(lightly: Any) -> None:
    (s,) = scores(1)
    for iterations in (1, 3):
        theirs = lightly.sinkhorn(s, iterations=iterations, epsilon=0.05)
        torch.testing.assert_close(moments.sinkhorn(s, iterations=iterations), theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("small", [0, 3])
@pytest.mark.parametrize("queued", [False, True])
def test_loss_and_gradient_are_lightlys(lightly: Any, small: int, queued: bool) -> None:
    views = [s.requires_grad_() for s in scores(2 + small)]
    queues = scores(2, rows=20, seed=1) if queued else []
    ours = SwAVLoss()(views[:2], views[2:], queues=queues)
    theirs = lightly.SwaVLoss()(views[:2], views[2:], queues or None).squeeze()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=0)
    for one, other in zip(torch.autograd.grad(ours, views), torch.autograd.grad(theirs, views), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)


def test_two_views_are_the_loss_of_swalip_to_the_last_bit() -> None:
    image, text = scores(2)
    assert SwAVLoss()([image, text]).equal(SwALIPPrototypesLoss()(image, text))


def test_equal_examples_have_the_uniform_code_and_no_nan() -> None:
    s = torch.ones(6, 4, dtype=F64)
    torch.testing.assert_close(SwAVLoss().codes(s), torch.full_like(s, 0.25))
    assert SwAVLoss()([1e4 * s, 1e4 * s]).isfinite()


def test_views_targets_and_queues_must_agree() -> None:
    one, two, three = scores(3)
    with pytest.raises(ValueError, match="at least 2 views"):
        SwAVLoss()([one])
    with pytest.raises(ValueError, match="2 large views, but 2 targets and 1 queues"):
        SwAVLoss()([one, two], [three], queues=[three])


def swav(**options: Any) -> Any:
    return build("swav", **{"prototypes": 6, "crops": 3, **options}).double()


def test_views_of_one_size_pass_the_tower_together() -> None:
    method = swav()
    given = batch(method, 5, dtype=F64)
    assert [given[f"image.{n}"].shape[-1] for n in range(1, 6)] == [8, 8, 4, 4, 4]
    method.image_tower.calls.clear()
    z = method.encode(given)
    assert method.image_tower.calls == [10, 15]
    apart = type(method).__mro__[1].encode(method, given)
    assert list(z) == list(apart)
    for view, features in z.items():
        torch.testing.assert_close(features, apart[view])
    assert method.passes() == {"image": 2 + 3 / 4}


def test_prototypes_wait_and_have_length_1() -> None:
    method = swav(frozen_steps=5)
    given = batch(method, 6, dtype=F64)
    for clock, moves in ((FIRST, False), (LATE, True)):
        method.zero_grad(set_to_none=True)
        method.losses(method.encode(given), given, clock)["swav"].backward()
        assert (method.prototypes.weight.grad is not None) is moves
    before = method.losses(method.encode(given), given, LATE)["swav"]
    with torch.no_grad():
        method.prototypes.weight.mul_(3)
    torch.testing.assert_close(method.losses(method.encode(given), given, LATE)["swav"], before)


def test_queued_embeddings_scored_todays_prototypes_once_queue() -> None:
    method, plain = swav(queue=10), swav()
    given = [batch(method, 6, seed=n, dtype=F64) for n in range(3)]
    for n, each in enumerate(given):
        z = method.encode(each)
        loss, without = (m.losses(z, each, LATE)["swav"] for m in (method, plain))
        assert loss.equal(without) is (n < 2), "a queue of 10 is full after two batches of 6"
        if n == 2:
            with torch.no_grad():
                projected = method.projection(torch.cat([z[v] for v in method.views])).split(6)
            s = [method.prototypes(v) for v in projected]
            queues = [method.prototypes(queue.keys) for queue in method.queues]
            expected = SwAVLoss()(s[:2], s[2:], queues=queues)
            torch.testing.assert_close(loss, expected, rtol=1e-8, atol=0)
        method.after_step({k: v.detach() for k, v in z.items()}, each, LATE)
    fresh = F.normalize(projected[1], dim=-1)
    assert any(row.allclose(fresh[0]) for row in method.queues[1].keys)


def test_small_crops_are_refused_where_there_can_be_none() -> None:
    with pytest.raises(ValueError, match="crops=2: views of text are of one size"):
        build("swav", on="texts", crops=2)
    recipe = load("seconds")
    with pytest.raises(ValueError, match=r"'mlp' takes pictures of 16 .* none of 8: .*; write swav,crops=0"):
        Arm.parse("swav").build(recipe, {}, 0, columns={"image": "image"})
    assert len(Arm.parse("swav,crops=0").build(recipe, {}, 0, columns={"image": "image"}).views) == 2
    assert len(build("swav", on="texts").views) == 2
