"""Options whose ranges depend on each other, which no annotation can say."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from counterpoint.losses import (
    AMCLLoss,
    HardContrastiveLoss,
    InfoNCELoss,
    ISogCLRLoss,
    MarginNTXentLoss,
    PolyViewLoss,
)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (partial(AMCLLoss, tau_min=2.0), "tau_min must be less than tau_max, got 2.0 and 2.0"),
        (partial(HardContrastiveLoss, repulsion=0.1), "repulsion is of the simple loss only, got 0.1"),
        (partial(InfoNCELoss, weights=(0.0, 0.0)), "weights must not both be 0"),
        (partial(ISogCLRLoss, temperature=0.001), "temperature=0.001 must lie between lowest=0.005 and"),
        (
            partial(MarginNTXentLoss, kind="angular", margin=3.2),
            "an angular margin must be at most π, got 3.2",
        ),
        (partial(PolyViewLoss, unit_rest=True), "unit_rest is for mode='sufficient'"),
    ],
)
def test_options_that_contradict_each_other_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
