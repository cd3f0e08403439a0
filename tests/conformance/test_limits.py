"""Losses and methods that equal another at the end of an option's range."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from loss_limits import LIMITS, Limit
from method_stubs import LATE, batch, build
from torch import Tensor

from counterpoint.methods.dbl import Anchor
from counterpoint.types import Batch

Options = dict[str, Any]

METHODS: dict[str, tuple[tuple[str, Options], float, tuple[str, Options]]] = {
    "b2t2, no boxes bound → fused": (
        ("b2t2", {"bind": "none"}),
        1,
        ("fused", {"pictures": "whole"}),
    ),
    "slip, no weight → clip": (("slip", {"ssl_weight": 0.0}), 1, ("clip", {})),
    "clip-rocket, no local views → clip, twice": (("clip-rocket", {"views": 0}), 2, ("clip", {})),
    **{
        f"{name}, no weight → clip": ((name, {"ssl_weight": 0.0}), 1, ("clip", {}))
        for name in ("siamlip", "byolip", "barlip", "swalip")
    },
    **{
        f"dbl, {anchor}, no weight → hinge": (("dbl", {"weight": 0.0, "anchor": anchor}), 1, ("hinge", {}))
        for anchor in get_args(Anchor)
    },
    "dbl, frozen, not begun → hinge": (("dbl", {"anchor": "frozen", "start": 0.6}), 1, ("hinge", {})),
    "diht, no hardness → infonce, twice": (
        ("diht", {"beta": 0.0, "temperature": 0.2}),
        2,
        ("infonce", {"temperature": 0.2}),
    ),
    "gml, no contrast → logit-adjusted, by cosines": (
        ("gml", {"weight": 0.0}),
        1,
        ("logit-adjusted", {"head": "cosine", "temperature": 1 / 30}),
    ),
    "logit-adjusted, no adjustment → cross-entropy": (
        ("logit-adjusted", {"tau": 0.0}),
        1,
        ("cross-entropy", {}),
    ),
    "guided-ntxent, nothing left out → ntxent": (
        ("guided-ntxent", {"rule": "drop_easy_negative", "ratio": 0.0}),
        1,
        ("ntxent", {"on": "images"}),
    ),
    "jest, nothing left out → siglip": (("jest", {"filter": 0.0}), 1, ("siglip", {})),
    "text-shearing, one slot → clip": (("text-shearing", {"slots": 1}), 1, ("clip", {})),
    "mochi, no mixtures → moco": (
        ("mochi", {"pairs": 0, "with_query": 0, "queue": 16}),
        1,
        ("moco", {"queue": 16}),
    ),
    "byol, no pair passes → byol": (
        ("byol", {"self_label": "cosine", "positive": 1.0}),
        1,
        ("byol", {}),
    ),
    "moco-dual-view, all keys → moco": (
        ("moco-dual-view", {"num_hard": None, "queue": 16}),
        1,
        ("moco", {"symmetric": True, "queue": 16}),
    ),
    "moco-dual-view, all keys and one anchor → moco": (
        ("moco-dual-view", {"num_hard": None, "mode": "key_anchor", "key_weight": 0.0, "queue": 16}),
        1,
        ("moco", {"queue": 16}),
    ),
}
"""A method with options, how many times another it is, and the other."""


@pytest.mark.parametrize("limit", LIMITS.values(), ids=[*LIMITS])
def test_a_loss_is_another_at_its_limit(limit: Limit) -> None:
    assert limit.error() <= limit.bound


def loss_and_gradients(name: str, options: Options, given: Batch) -> tuple[float, dict[str, Tensor]]:
    """The loss of a batch and the towers' gradients, after steps that have filled what a method keeps."""
    method = build(name, **options).double()
    for seed in (5, 6):
        other = batch(method, 8, seed=seed, dtype=torch.float64)
        torch.manual_seed(seed)
        method.after_step(
            method.targets(other) | method.encode(other), replace(other, ids=other.ids + 100), LATE
        )
    torch.manual_seed(0)
    loss = torch.stack(
        list(method.losses(method.targets(given) | method.encode(given), given, LATE).values())
    ).sum()
    loss.backward()
    return float(loss.detach()), {
        n: p.grad for n, p in method.towers.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize(("one", "times", "other"), METHODS.values(), ids=[*METHODS])
def test_a_method_is_another_at_its_limit(
    one: tuple[str, Options], times: float, other: tuple[str, Options]
) -> None:
    given = batch(build(one[0], **one[1]), 8, dtype=torch.float64)
    (loss, gradients), (expected, others) = (loss_and_gradients(*each, given) for each in (one, other))
    assert loss == pytest.approx(times * expected, rel=1e-12)
    assert others
    for name, gradient in others.items():
        torch.testing.assert_close(gradients[name], times * gradient, rtol=1e-9, atol=1e-12)
