"""Groups of whole ranks: the loss of one process, and nobody outside a group is asked for embeddings."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from grouped_jobs import job_grouped
from rank_pool import RankPool

from fixtures.slow import slow


@pytest.mark.parametrize(
    ("size", "groups", "exchanged"),
    [(2, 1, {2}), (2, 2, set()), *slow((3, 3, set()), (3, 1, {3}), (3, 2, {3}))],
)
def test_embeddings_are_exchanged_inside_groups_of_ranks_alone(
    size: int, groups: int, exchanged: set[int], rank_pool: Callable[[int], RankPool]
) -> None:
    loss, gradients, _ = job_grouped(0, 1, groups)
    found = rank_pool(size).run(job_grouped, groups)
    for other, _, met in found:
        torch.testing.assert_close(other, loss, rtol=1e-12, atol=0)
        assert set(met) == exchanged
    for k in range(2):
        whole = torch.cat([grads[k] for _, grads, _ in found])
        torch.testing.assert_close(whole, gradients[k], rtol=1e-10, atol=1e-12)
