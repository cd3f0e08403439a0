"""Sy-CON against the card's steps, written out by hand, and what changes from task to task."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, StubImage, batch, run
from torch import Tensor

from counterpoint import methods
from counterpoint.networks.init import initialise
from counterpoint.types import Batch, StepInfo

F64 = torch.float64
LAST = StepInfo(4, 10, ends_task=True)


def built(seed: int = 0, **options: Any) -> Any:
    """Build the method in its first task, as a run starts it."""
    image = StubImage()
    initialise(image, seed, "image")
    image.weights_set = True
    method = methods.create("sy-con", {"image": image}, RECIPE, **{"queue": 10, **options})
    initialise(method, seed)
    return method.double()


def given(method: Any, k: int) -> Batch:
    one = batch(method, 4, seed=k, dtype=F64)
    return Batch(one.ids + 4 * k, one.views)


def step(method: Any, optimizer: torch.optim.Optimizer, one: Batch, clock: StepInfo = LATE) -> Tensor:
    z = method.targets(one) | method.encode(one)
    loss = method.losses(z, one, clock)["sy_con"]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    method.after_step({name: t.detach() for name, t in z.items()}, one, clock)
    return loss.detach()


def test_is_the_papers_loop_over_two_tasks() -> None:
    """Momentum keys, frozen outputs, the union of both queues of the other view in both denominators."""
    method = built(momentum=0.9)
    online = copy.deepcopy(torch.nn.Sequential(method.image_tower, method.projection))
    slow = copy.deepcopy(online)
    frozen, predictor, previous_queues = None, None, []
    queues = [queue.keys.clone() for queue in method.queues]
    ours = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    theirs = torch.optim.SGD([p for p in online.parameters() if p.requires_grad], lr=0.1)
    for k in range(6):
        one, clock = given(method, k), LAST if k == 2 else LATE
        views = [one["image.1"], one["image.2"]]
        q = [F.normalize(online(v), dim=1) for v in views]
        with torch.no_grad():
            keys = [F.normalize(slow(v), dim=1) for v in views]
            old = [] if frozen is None else [F.normalize(frozen(v), dim=1) for v in views]
        terms = []
        for a, b in ((0, 1), (1, 0)):
            bank = queues[b] if frozen is None else torch.cat([queues[b], previous_queues[b]])
            pairs = [(q[a], keys[b])]
            if predictor is not None:
                pairs.append((F.normalize(predictor(q[a]), dim=1), old[a]))
            for anchor, positive in pairs:
                logits = torch.cat([(anchor * positive).sum(1, keepdim=True), anchor @ bank.T], 1) / 0.2
                terms.append(F.cross_entropy(logits, torch.zeros(4, dtype=torch.int64)))
        loss = torch.stack(terms).sum() / 2
        torch.testing.assert_close(step(method, ours, one, clock), loss.detach(), rtol=1e-9, atol=0)
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        with torch.no_grad():
            for p, w in zip(slow.parameters(), online.parameters(), strict=True):
                p.lerp_(w, 0.1)
        queues = [torch.cat([queue, key])[4:] for queue, key in zip(queues, keys, strict=True)]
        if frozen is not None:
            previous_queues = [torch.cat([b, f])[4:] for b, f in zip(previous_queues, old, strict=True)]
        if clock.ends_task:
            frozen = copy.deepcopy(online)
            predictor = copy.deepcopy(method.predictor)
            previous_queues = [queue.keys.clone() for queue in method.previous_queues]
            theirs.add_param_group({"params": [*predictor.parameters()]})


def test_first_task_neither_sees_nor_moves_is_for_later_ones() -> None:
    method = built()
    assert set(method.targets(given(method, 0))) == {"momentum.image.1", "momentum.image.2"}
    run(method, given(method, 0))["sy_con"].backward()
    assert all(p.grad is None for p in method.predictor.parameters())
    assert method.passes() == {"image": 6}


def test_previous_model_stays_as_it_was_and_in_evaluation_mode() -> None:
    method = built()
    method.begin_task()
    before = {k: v.clone() for k, v in method.previous.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    for k in range(3):
        step(method, optimizer, given(method, k))
    assert not any(module.training for module in method.previous.modules())
    assert all(torch.equal(v, before[k]) for k, v in method.previous.state_dict().items())
    moved = method.projection.state_dict()
    assert not torch.equal(moved["0.weight"], before["module.1.0.weight"])


def test_task_starts_another_predictor_queues_of_nobodys_outputs() -> None:
    method = built()
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    starts = []
    for k in range(3):
        step(method, optimizer, given(method, k), LAST)
        assert all((queue.ids == -1).all() for queue in method.previous_queues)
        assert method.previous_queues[0].ids.shape == (10,)
        starts.append([method.predictor[0].weight.detach().clone(), method.previous_queues[0].keys.clone()])
    assert int(method.task) == 3
    for one, other in ((0, 1), (1, 2)):
        assert not any(torch.equal(a, b) for a, b in zip(starts[one], starts[other], strict=True))


def test_what_task_draws_follows_from_seed_and_not_from_chance() -> None:
    drawn = []
    for seed, chance in ((0, 1), (0, 2), (1, 1)):
        method = built(seed)
        torch.manual_seed(chance)
        method.begin_task()
        drawn.append(method.predictor[0].weight.detach())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("option", ["temperature", "stability_temperature"])
def test_both_temperatures_are_used(option: str) -> None:
    losses = []
    for value in (0.2, 0.4):
        method = built(**{option: value})
        method.begin_task()
        losses.append(float(run(method, given(method, 0))["sy_con"].detach()))
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)
