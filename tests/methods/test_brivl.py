"""BriVL against the card's steps, written out by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, batch, build, run, total
from torch import nn

from counterpoint.types import Batch

F64 = torch.float64
DIRECTIONS = (("image", "text"), ("text", "image"))


def towers(method: Any) -> nn.ModuleDict:
    return nn.ModuleDict(
        {m: nn.Sequential(method.towers[m], method.projections[m]) for m in ("image", "text")}
    )


@pytest.mark.parametrize("m", [0.0, 0.9, 1.0])
def test_is_the_papers_loop(m: float) -> None:
    """Update the copies, keys, one (1 + K) softmax each way, step, enqueue."""
    method = build("brivl", queue=10, momentum=m).double()
    online, slow = copy.deepcopy(towers(method)), copy.deepcopy(towers(method))
    queues = {k: queue.keys.clone() for k, queue in method.queues.items()}
    ours, theirs = (
        torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.5)
        for module in (method, online)
    )
    for k in range(5):
        given = batch(method, 4, seed=k, dtype=F64)
        given = Batch(given.ids + 4 * k, given.views)
        with torch.no_grad():
            for p, q in zip(slow.parameters(), online.parameters(), strict=True):
                p.copy_(m * p + (1 - m) * q)
            keys = {name: F.normalize(slow[name](given[name]), dim=1) for name in queues}
        terms = []
        for of, to in DIRECTIONS:
            query = F.normalize(online[of](given[of]), dim=1)
            positive = (query * keys[to]).sum(1, keepdim=True)
            logits = torch.cat([positive, query @ queues[to].T], 1) / 0.07
            terms.append(F.cross_entropy(logits, torch.zeros(4, dtype=torch.int64)))
        theirs.zero_grad()
        torch.stack(terms).sum().backward()
        theirs.step()
        queues = {name: torch.cat([queue, keys[name]])[4:] for name, queue in queues.items()}

        z = method.targets(given) | method.encode(given)
        losses = method.losses(z, given, LATE)
        ours.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        ours.step()
        method.after_step({name: t.detach() for name, t in z.items()}, given, LATE)
        assert [t.item() for t in losses.values()] == pytest.approx([t.item() for t in terms], rel=1e-9)
    for name, queue in method.queues.items():
        oldest_first = torch.arange(10).roll(-int(queue.pointer))
        torch.testing.assert_close(queue.keys[oldest_first], queues[name], rtol=1e-9, atol=1e-12)


def test_pictures_are_compared_with_the_queue_of_texts() -> None:
    method = build("brivl")
    given = batch(method)
    before = run(method, given)
    method.queues["text"].reset_parameters()
    after = run(method, given)
    assert before["image_to_text"] != after["image_to_text"]
    assert before["text_to_image"] == after["text_to_image"]


def test_the_batch_gives_no_negatives() -> None:
    method = build("brivl").double()
    given = batch(method, 6, dtype=F64)
    each = torch.stack([total(method, part) for part in given.split(1)])
    torch.testing.assert_close(total(method, given), each.mean(), rtol=1e-12, atol=0)


def test_the_own_pair_is_no_negative() -> None:
    method = build("brivl", queue=3)
    given = batch(method, 1)
    for _ in range(3):
        method.after_step(method.targets(given), given, LATE)
    assert total(method, given) == 0


def test_keys_carry_no_gradient_and_pointers_wrap() -> None:
    method = build("brivl", queue=10)
    for k in range(1, 4):
        given = batch(method, 4, seed=k)
        z = method.targets(given)
        assert not any(t.requires_grad for t in z.values())
        method.after_step(z, given, LATE)
        assert [int(queue.pointer) for queue in method.queues.values()] == [4 * k % 10] * 2


def test_embeds_by_its_heads_in_two_passes_each() -> None:
    method = build("brivl")
    assert method.passes() == {"image": 2, "text": 2}
    pictures = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    assert method.embed("image", pictures).shape == method.embed("text", ["a", "b", "c"]).shape == (3, 8)
