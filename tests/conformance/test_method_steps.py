"""Steps of every registered method on several ranks; those of one process are checks of `counterpoint.testing`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from caching_jobs import job_cached
from method_stubs import STEPPING, batch, build
from rank_pool import RankPool

from counterpoint.testing._checks import expect_close
from counterpoint.testing._method import grads_of, step
from fixtures.slow import on_ranks


@pytest.mark.parametrize("name", STEPPING)
@on_ranks
def test_ranks_change_no_gradient(name: str, size: int, rank_pool: Callable[[int], RankPool]) -> None:
    method = build(name).double().train()
    if method.draws:
        pytest.skip("what is drawn for an example depends on the rank that holds it")
    step(method, batch(method, 11, dtype=torch.float64), 0)
    expected = grads_of(method)
    # Norms of transformers' language models compute in float32.
    rtol, atol = (1e-5, 1e-7) if method.family == "speaking" else (1e-9, 1e-12)
    for measured in rank_pool(size).run(job_cached, name, 3):
        assert measured.keys() == expected.keys()
        for parameter, value in expected.items():
            expect_close(measured[parameter], value, f"{parameter} of one process", rtol=rtol, atol=atol)
