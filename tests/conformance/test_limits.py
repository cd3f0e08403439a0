"""Losses that equal another at the end of an option's range."""

from __future__ import annotations

import pytest

from counterpoint.claims.benches.limits import LIMITS, Limit


@pytest.mark.parametrize("limit", LIMITS.values(), ids=[*LIMITS])
def test_a_loss_is_another_at_its_limit(limit: Limit) -> None:
    assert limit.error() <= limit.bound
