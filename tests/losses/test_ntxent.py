"""NT-Xent: closed forms and limits."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from counterpoint.losses import NTXentLoss
from fixtures.vectors import F64


@pytest.mark.parametrize("n", [1, 2, 6])
def test_orthonormal_examples_with_equal_views(n: int) -> None:
    x = torch.eye(n, dtype=F64)
    expected = math.log(1 + 2 * (n - 1) * math.exp(-1 / 0.1))
    assert NTXentLoss(0.1)(x, x).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_collapsed_views_cost_the_log_of_the_others() -> None:
    x = F.normalize(torch.ones(8, 3, dtype=F64), dim=-1)
    assert NTXentLoss(0.1)(x, x).item() == pytest.approx(math.log(15), rel=1e-12)


def test_is_a_cross_entropy_over_the_other_views() -> None:
    g = torch.Generator().manual_seed(0)
    z = F.normalize(torch.randn(10, 4, generator=g, dtype=F64), dim=-1)
    s = (z @ z.T / 0.1).fill_diagonal_(float("-inf"))
    plain = F.cross_entropy(s, (torch.arange(10) + 5) % 10)
    torch.testing.assert_close(NTXentLoss(0.1)(z[:5], z[5:]), plain, rtol=1e-12, atol=0)


def test_explain_finds_the_partner_among_both_views() -> None:
    g = torch.Generator().manual_seed(0)
    z = F.normalize(torch.randn(8, 4, generator=g, dtype=F64), dim=-1)
    (force,) = NTXentLoss(0.5).explain(z[:4], z[4:]).forces
    assert [force.positives(a) for a in range(8)] == [[(a + 4) % 8] for a in range(8)]
    assert all(len(force.negatives(a)) == 6 for a in range(8))
    assert not force.pull.diagonal().any()
