"""Losses of one column without a projector: the features themselves, behind a ReLU or not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from method_stubs import FIVE, LATE, batch, build, run

from counterpoint.methods.arm import Arm
from counterpoint.recipes import load
from counterpoint.types import Target


@pytest.mark.parametrize("head", ["identity", "relu"])
def test_the_loss_sees_features_and_so_does_a_user(head: str) -> None:
    method = build("supcon", on="images", target=FIVE, head=head).double()
    given = batch(method, dtype=torch.float64)
    z = method.encode(given)
    seen = {name: F.relu(one) if head == "relu" else one for name, one in z.items()}
    views = [F.normalize(one, dim=-1) for one in seen.values()]
    expected = method.objective(*views, labels=given.labels["group"])
    torch.testing.assert_close(run(method, given)["supcon"], expected)
    torch.testing.assert_close(method.embed_prepared("image", given["image.1"]), views[0].detach())
    assert not list(method.projections.parameters())
    assert (method.embed_prepared("image", given["image.1"]).min() >= 0) == (head == "relu")


def test_a_projector_is_left_off() -> None:
    method = build("supcon", on="images", target=FIVE)
    given = batch(method)
    features = F.normalize(method.encode(given)["image.1"].detach(), dim=-1)
    torch.testing.assert_close(method.embed_prepared("image", given["image.1"]), features)
    assert method.numbers() == {}


def test_views_of_nothing_is_above_zero_are_counted_and_harmless() -> None:
    method = build("supcon", on="images", target=FIVE, head="relu")
    given = batch(method)
    z = {name: -torch.ones_like(one) for name, one in method.encode(given).items()}
    z["image.1"][:4] = 1.0
    z = {name: one.requires_grad_() for name, one in z.items()}
    method.losses(z, given, LATE)["supcon"].backward()
    assert method.numbers()["dead"] == pytest.approx(28 / 32)
    assert all(one.grad.isfinite().all() for one in z.values())


def test_two_columns_have_heads_of_their_own() -> None:
    with pytest.raises(ValueError, match="head=relu: two columns have linear heads"):
        build("supcon", target=FIVE, head="relu")


def test_it_is_written_as_an_arm() -> None:
    arm = Arm.parse("supcon,on=images,head=relu,sampler=bound:1")
    method = arm.build(load("seconds"), {}, 0, target=Target("digit", ("0", "1")))
    assert isinstance(method.projections["image"], torch.nn.ReLU)
    assert method.sampler == "bound:1"
    with pytest.raises(ValueError, match="head"):
        Arm.parse("supcon,on=images,head=linear").build(load("seconds"), {}, 0)
