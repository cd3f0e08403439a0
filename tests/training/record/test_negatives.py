"""Negatives per anchor, told before the first step."""

from __future__ import annotations

import pytest
import torch

from counterpoint.data.source import load
from counterpoint.recipes import Recipe, override
from counterpoint.training.record.negatives import negatives_per_anchor
from counterpoint.training.run import Run
from counterpoint.training.start import prepare


@pytest.mark.parametrize(
    ("arm", "negatives"),
    [
        ("clip", {99.0}),
        ("siglip", {99.0}),
        ("slip", {99.0, 198.0}),  # pictures among themselves: all other views of a batch
        ("barlip", {99.0}),  # cross-correlations are of no pairs
    ],
)
def test_every_other_example_of_the_whole_batch_is_a_negative(
    arm: str, negatives: set[float], recipe: Recipe
) -> None:
    method, loader = prepare(Run(arm, "emoji", override(recipe, {"batch_size": 100})), load("emoji"))
    before = {name: value.clone() for name, value in method.state_dict().items()}
    drawn = torch.random.get_rng_state()
    assert set(negatives_per_anchor(method, loader)) == negatives
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
