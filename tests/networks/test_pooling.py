"""Pooling: against loops; padding never matters."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from counterpoint.networks.base import Pooling
from counterpoint.networks.towers.parts.pooling import inside, pool

TOKENS = torch.tensor([[1, 5, 2, 0, 0], [1, 6, 7, 8, 2], [1, 2, 2, 2, 2], [1, 5, 6, 7, 8]])
LENGTHS = [3, 5, 2, 5]
"""Padding with 0, none, padding with the end token itself, no end token at all."""


def test_inside() -> None:
    assert inside(TOKENS, end=2).sum(1).tolist() == LENGTHS
    begun = torch.cat([torch.full((4, 1), 2), TOKENS[:, 1:]], 1)
    assert inside(begun, end=2, begins_with_end=True).sum(1).tolist() == LENGTHS


@pytest.mark.parametrize("how", get_args(Pooling))
def test_pool_is_the_loop(how: Pooling) -> None:
    torch.manual_seed(0)
    states = (
        torch.randn(4, 5, 3, dtype=torch.float64) - 3
    )  # all negative: a padded zero would win the maximum
    pooled = pool(states, inside(TOKENS, 2), how)
    for i, length in enumerate(LENGTHS):
        own = states[i, :length]
        places = torch.arange(1, length + 1)[:, None]
        expected = {
            "end": own[-1],
            "first": own[0],
            "mean": own.mean(0),
            "max": own.max(0).values,
            "mean_sqrt": own.sum(0) / length**0.5,
            "weighted_mean": (places * own).sum(0) / places.sum(),
        }[how]
        assert torch.allclose(pooled[i], expected)
