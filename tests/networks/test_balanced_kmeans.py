"""Balanced k-means: sizes that differ by one at most, greedy by cosine, and clusters where there are some."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor

from counterpoint.networks.clusters import _greedy, balanced_kmeans


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.data())
def test_sizes_differ_by_one_at_most_and_vector_has_cluster(n: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, n))
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 9))))
    sizes = balanced_kmeans(x, count, iterations=5).bincount(minlength=count)
    assert int(sizes.sum()) == n
    assert sizes.max() - sizes.min() <= 1


def in_turn(scores: Tensor, room: int) -> Tensor:
    """The pairs from the highest score down, each taken where row and column are free."""
    column, left = torch.full((len(scores),), -1), [room] * scores.shape[1]
    for place in scores.flatten().argsort(descending=True).tolist():
        row, k = divmod(place, scores.shape[1])
        if column[row] < 0 and left[k]:
            column[row] = k
            left[k] -= 1
    return column


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 8), st.integers(0, 99))
def test_assignment_is_the_greedy_one(n: int, k: int, room: int, seed: int) -> None:
    scores = torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert _greedy(scores, room).tolist() == in_turn(scores, room).tolist()


def test_clusters_of_one_size_are_found() -> None:
    g = torch.Generator().manual_seed(0)
    centres = torch.randn(5, 16, generator=g)
    truth = torch.arange(5).repeat_interleave(20)
    x = centres[truth] + 0.1 * torch.randn(100, 16, generator=g)
    assert normalized_mutual_info_score(truth, balanced_kmeans(x, 5)) == pytest.approx(1.0)


def test_equal_vectors_and_too_few_vectors() -> None:
    assert balanced_kmeans(torch.ones(7, 2), 3).bincount().tolist() == [3, 2, 2]
    with pytest.raises(ValueError, match="2 vectors cannot make 3 clusters"):
        balanced_kmeans(torch.randn(2, 2), 3)
