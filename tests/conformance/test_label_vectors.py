"""Label vectors that every rank computes alike: the average of the ranks' gradients is that of one process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cases_classes import job_class_vectors
from cases_targets import job_label_vectors
from rank_pool import RankPool

NAMES = ("decoupled_softmax", "multi_label_softmax", "one_vs_all", "soft_top_k")
OF_CLASSES = (
    "cross-entropy",
    "logit-adjusted",
    "harmonic",
    "bce",
    "asymmetric",
    "comic",
    "gml",
    "proxy-anchor",
    "mlcd",
    "distribution-balanced",
    "class-embedding",
)


@pytest.mark.parametrize(
    ("name", "job"),
    [*((name, job_label_vectors) for name in NAMES), *((name, job_class_vectors) for name in OF_CLASSES)],
)
def test_ranks_share_the_gradient_in_their_label_vectors(
    name: str, job: Callable[..., tuple[torch.Tensor, torch.Tensor]], rank_pool: Callable[[int], RankPool]
) -> None:
    loss, gradient = job(0, 1, name)
    assert gradient.norm() > 0.01
    for other, averaged in rank_pool(2).run(job, name):
        torch.testing.assert_close(other, loss, rtol=1e-10, atol=0)
        torch.testing.assert_close(averaged, gradient, rtol=1e-9, atol=1e-12)
