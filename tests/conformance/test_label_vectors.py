"""Label vectors that every rank computes alike: the average of the ranks' gradients is that of one process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cases_targets import job_label_vectors
from rank_pool import RankPool

NAMES = ("decoupled_softmax", "multi_label_softmax", "one_vs_all", "soft_top_k")


@pytest.mark.parametrize("name", NAMES)
def test_ranks_share_the_gradient_in_their_label_vectors(
    name: str, rank_pool: Callable[[int], RankPool]
) -> None:
    loss, gradient = job_label_vectors(0, 1, name)
    assert gradient.norm() > 0.01
    for other, averaged in rank_pool(2).run(job_label_vectors, name):
        torch.testing.assert_close(other, loss, rtol=1e-10, atol=0)
        torch.testing.assert_close(averaged, gradient, rtol=1e-9, atol=1e-12)
