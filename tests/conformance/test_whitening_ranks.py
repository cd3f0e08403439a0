"""Whitening on several ranks: the statistics and the shuffles are those of the whole batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from rank_pool import RankPool
from whitening_jobs import job_whitened_cse

from fixtures.slow import on_ranks


@pytest.mark.parametrize("detach", [True, False])
@on_ranks
def test_ranks_do_not_change_the_whitened_loss_or_its_gradients(
    size: int, detach: bool, rank_pool: Callable[[int], RankPool]
) -> None:
    loss, grads = job_whitened_cse(0, 1, detach)
    for other, others in rank_pool(size).run(job_whitened_cse, detach):
        torch.testing.assert_close(other, loss, rtol=1e-10, atol=0)
        torch.testing.assert_close(others, grads, rtol=1e-7, atol=1e-10)
