"""MoCo against the paper's loop, written out by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, batch, build, run, total
from torch import Tensor, nn

from counterpoint import recipes
from counterpoint.methods.arm import Arm
from counterpoint.recipes import override
from counterpoint.types import Batch

F64 = torch.float64


def step(method: Any, given: Batch, optimizer: torch.optim.Optimizer) -> float:
    """Take a step as the training loop does."""
    with torch.no_grad():
        z = method.targets(given)
    z |= method.encode(given)
    loss = method.losses(z, given, LATE)[method.name]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    method.after_step({k: v.detach() for k, v in z.items()}, given, LATE)
    return float(loss.detach())


def sgd(method: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.5)


def batches(method: Any, count: int, size: int = 4) -> list[Batch]:
    """Return batches of eight pictures, half of them in turn, so that items come round while their keys are queued."""
    found = []
    for k in range(count):
        given = batch(method, size, seed=k, dtype=F64)
        found.append(Batch((given.ids + 4 * k) % 8, given.views))
    return found


def by_hand(method: Any, given: list[Batch], m: float, symmetric: bool) -> tuple[list[float], Tensor]:
    """The paper's algorithm: update the copy, keys, logits of (1 + K), step, enqueue."""
    online = copy.deepcopy(nn.Sequential(method.image_tower, method.projection))
    slow = copy.deepcopy(online)
    optimizer = torch.optim.SGD(online.parameters(), lr=0.5)
    queue, items, losses = method.queue.keys.clone(), [-1] * len(method.queue), []
    for each in given:
        with torch.no_grad():
            for late, present in zip(slow.parameters(), online.parameters(), strict=True):
                late.copy_(m * late + (1 - m) * present)
        terms, fresh = [], []
        for a, b in [("image.1", "image.2"), ("image.2", "image.1")][: 1 + symmetric]:
            q = F.normalize(online(each[a]), dim=1)
            k = F.normalize(slow(each[b]), dim=1).detach()
            own = torch.tensor([[int(i) == item for item in items] for i in each.ids])
            negative = (q @ queue.T).masked_fill(own, float("-inf"))
            logits = torch.cat([(q * k).sum(1, keepdim=True), negative], 1) / 0.2
            terms.append(F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.int64)))
            fresh.append(k)
        loss = torch.stack(terms).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        arrived = torch.cat(fresh)
        queue = torch.cat([queue, arrived])[len(arrived) :]
        items = [*items, *(each.ids.tolist() * len(fresh))][len(arrived) :]
    return losses, queue


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("m", [0.0, 0.9, 1.0])
def test_is_the_papers_loop(m: float, symmetric: bool) -> None:
    method = build("moco", queue=18, momentum=m, symmetric=symmetric).double()
    given = batches(method, 6)
    losses, queue = by_hand(method, given, m, symmetric)
    optimizer = sgd(method)
    assert [step(method, each, optimizer) for each in given] == pytest.approx(losses, rel=1e-9)
    oldest_first = torch.arange(18).roll(-int(method.queue.pointer))
    torch.testing.assert_close(method.queue.keys[oldest_first], queue, rtol=1e-9, atol=1e-12)


def test_the_copy_is_where_its_momentum_says() -> None:
    for m, same_as_start in ((1.0, True), (0.0, False)):
        method = build("moco", queue=16, momentum=m).double()
        start, optimizer = copy.deepcopy(method.momentum.module), sgd(method)
        for each in batches(method, 3):
            step(method, each, optimizer)
        followed = start if same_as_start else nn.Sequential(method.image_tower, method.projection)
        for p, q in zip(method.momentum.module.parameters(), followed.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=0)


def test_keys_carry_no_gradient_and_queue_is_nothing_to_train() -> None:
    method = build("moco")
    assert not any(z.requires_grad for z in method.targets(batch(method)).values())
    trained = {name.split(".")[0] for name, p in method.named_parameters() if p.requires_grad}
    assert trained == {"towers", "projection"}
    assert set(method.towers) == {"image"}


def test_only_the_step_moves_the_state() -> None:
    method = build("moco", symmetric=True)
    given, before = batch(method), {k: v.clone() for k, v in method.state_dict().items()}
    total(method, given).backward()
    run(method, given)
    assert all(torch.equal(v, before[k]) for k, v in method.state_dict().items())


@pytest.mark.parametrize("symmetric", [False, True])
def test_pointer_wraps_where_queue_is_no_multiple_of_the_batch(symmetric: bool) -> None:
    method = build("moco", queue=10, symmetric=symmetric)
    per_step = 8 if symmetric else 4
    for k in range(1, 6):
        given = batch(method, 4, seed=k)
        method.after_step(method.targets(given), given, LATE)
        assert int(method.queue.pointer) == k * per_step % 10
        assert int(method.queue.filled) == min(k * per_step, 10)


def test_a_picture_is_no_negative_of_itself() -> None:
    method = build("moco", queue=4)
    given = batch(method, 1)
    for _ in range(4):
        method.after_step(method.targets(given), given, LATE)
    assert method.queue.full
    assert total(method, given) == 0  # its own keys are all there is


def test_the_keys_of_a_step_are_not_in_its_own_negatives() -> None:
    method = build("moco", queue=8)
    given = batch(method, 4)
    key = method.targets(given)["momentum.image.2"]
    total(method, given).backward()
    assert (method.queue.keys @ key.T).max() < 1 - 1e-3
    method.after_step(method.targets(given), given, LATE)
    torch.testing.assert_close(method.queue.keys[:4], key)


def test_views_and_passes() -> None:
    one, both = build("moco"), build("moco", symmetric=True)
    given = batch(one)
    assert set(one.encode(given)) == {"image.1"}
    assert set(one.targets(given)) == {"momentum.image.2"}
    assert set(both.encode(given)) == {"image.1", "image.2"}
    assert one.passes() == {"image": 2}
    assert both.passes() == {"image": 4}


def test_head_is_that_of_second_version_and_left_off_afterwards() -> None:
    method = build("moco")
    assert [type(layer).__name__ for layer in method.projection] == ["Linear", "ReLU", "Linear"]
    assert method.projection[0].out_features == method.image_tower.width
    pictures = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    assert method.embed("image", pictures).shape == (3, method.image_tower.width)
    with pytest.raises(ValueError, match="trained on images alone"):
        method.embed("text", ["a red car"])


@pytest.mark.parametrize(
    ("arm", "modalities"),
    [
        ("moco", ("image",)),
        ("mochi,queue=64", ("image",)),
        ("moco-dual-view", ("image",)),
        ("brivl", ("image", "text")),
        ("clip", ("image", "text")),
    ],
)
def test_an_arm_knows_what_it_will_embed(arm: str, modalities: tuple[str, ...]) -> None:
    assert tuple(Arm.parse(arm).reads()) == modalities


def test_without_queue_other_keys_of_the_batch_are_the_negatives() -> None:
    method = build("moco", queue=0).double()
    given = batch(method, 6, dtype=F64)
    z = method.targets(given) | method.encode(given)
    q = F.normalize(method.projection(z["image.1"]), dim=1)
    k = next(value for name, value in z.items() if name.endswith("image.2"))
    logits = q @ k.T / 0.2
    expected = F.cross_entropy(logits, torch.arange(6))
    torch.testing.assert_close(method.losses(z, given, LATE)["moco"], expected)
    method.after_step(z, given, LATE)


@pytest.mark.parametrize("name", ["mochi", "moco-dual-view"])
def test_a_method_that_chooses_keys_needs_a_queue(name: str) -> None:
    with pytest.raises(ValueError, match="queue=0"):
        build(name, queue=0)


def test_a_tower_with_batch_norms_is_named() -> None:
    recipe = override(recipes.load(), {"towers.image": "timm:test_byobnet"})
    with pytest.warns(UserWarning, match=r"'image' has batch norms.*--towers.image"):
        Arm.parse("moco").build(recipe, {}, seed=0, columns={"image": "image"})
