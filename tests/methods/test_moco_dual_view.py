"""The dual view of MoCo: its two readings, and when they are MoCo."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from method_stubs import LATE, batch, build, total

from counterpoint.types import Batch


def filled(name: str, **options: Any) -> tuple[Any, Batch]:
    """A method whose queue holds keys of other pictures, and a batch."""
    method = build(name, queue=16, **options)
    given = batch(method, 8)
    for seed in (5, 6):
        other = batch(method, 8, seed=seed)
        method.after_step(method.targets(other), Batch(other.ids + 100, other.views), LATE)
    return method, given


def test_filters_once_the_queue_is_full() -> None:
    method, given = filled("moco-dual-view", num_hard=2)
    plain, _ = filled("moco", symmetric=True)
    assert total(method, given) < total(plain, given)
    method.queue.filled.fill_(15)
    torch.testing.assert_close(total(method, given), total(plain, given), rtol=0, atol=0)


def test_the_key_as_an_anchor_adds_a_little_by_default() -> None:
    _, given = filled("moco-dual-view")
    default, none, whole = (
        total(filled("moco-dual-view", mode="key_anchor", **options)[0], given)
        for options in ({}, {"key_weight": 0.0}, {"key_weight": 1.0})
    )
    assert whole > none
    torch.testing.assert_close(default - none, 0.1 * (whole - none), rtol=1e-4, atol=0)


def test_passes_of_either_reading() -> None:
    assert build("moco-dual-view").passes() == {"image": 4}
    assert build("moco-dual-view", mode="key_anchor").passes() == {"image": 2}


def test_passing_over_the_whole_queue_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="skip_top=16 leaves none of the 16 keys"):
        build("moco-dual-view", queue=16, skip_top=16)
