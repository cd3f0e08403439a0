"""Gradient caching over several ranks, uneven ones too, gives the gradient of one process without it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from caching_jobs import job_cached
from method_stubs import LATE, batch, build
from rank_pool import RankPool


@pytest.mark.parametrize("name", ["clip", "siglip", "dcl"])
@pytest.mark.parametrize("size", [2, 3])
def test_gradients_are_those_of_the_whole_batch_on_one_process(
    name: str, size: int, rank_pool: Callable[[int], RankPool]
) -> None:
    method = build(name).double().train()
    whole = batch(method, size=11, dtype=torch.float64)
    torch.stack(list(method.losses(method.encode(whole), whole, LATE).values())).sum().backward()
    expected = {key: p.grad for key, p in method.named_parameters() if p.grad is not None}
    for found in rank_pool(size).run(job_cached, name, 3):
        assert found.keys() == expected.keys()
        for key, gradient in expected.items():
            torch.testing.assert_close(found[key], gradient, rtol=1e-10, atol=1e-12)
