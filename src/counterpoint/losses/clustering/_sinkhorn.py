"""Checks of what Sinkhorn iterations are given."""

from __future__ import annotations

import math


def check_sinkhorn(epsilon: float, iterations: int) -> None:
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon must be positive, got {epsilon}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
