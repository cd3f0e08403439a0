"""The mathematics of the claims about sentence embeddings."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from counterpoint.claims.benches.data import glosses
from counterpoint.claims.benches.data.glosses import Pairs
from counterpoint.claims.text import whitened_cse


def test_a_ranking_that_follows_the_similarity_is_perfect() -> None:
    angles = torch.tensor([0.0, 0.1, 0.3, 0.7])
    z = torch.stack([angles.cos(), angles.sin()], 1)
    tokens = torch.arange(1, 5)[:, None]
    pairs = Pairs(tokens, np.array([0, 0, 0]), np.array([1, 2, 3]), np.array([0.95, 0.5, 0.2]))
    found = glosses.judge(z, pairs)
    assert found["rank correlation"] == pytest.approx(1.0)
    assert found["alignment"] == pytest.approx(2 - 2 * math.cos(0.1), abs=1e-6)
    assert 0.5 < found["first singular value"] < 1.0
    backwards = Pairs(tokens, pairs.first, pairs.second, pairs.similarity[::-1].copy())
    assert glosses.judge(z, backwards)["rank correlation"] == pytest.approx(-1.0)


@pytest.mark.parametrize("name", list(whitened_cse.properties()))
def test_whitening_has_the_properties_of_its_card(name: str) -> None:
    assert whitened_cse.properties()[name] < 1e-4
