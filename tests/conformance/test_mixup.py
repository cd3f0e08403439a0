"""Mixup: blends of two, the same on any ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from mixup_jobs import job_mixed, whole
from rank_pool import RankPool

from counterpoint.networks.mixup import PARTNER, PARTNER_ID, SHARE, mixup
from fixtures.slow import on_ranks


def test_views_blends_and_labels_stay_beside_those_of_partner() -> None:
    batch = whole()
    torch.manual_seed(3)
    mixed = mixup(batch, 0.4)
    partner, share = mixed.labels[PARTNER_ID] - 10, mixed.labels[SHARE]
    assert sorted(partner.tolist()) == list(range(11))
    assert len(set(share.tolist())) == 1
    for name, view in batch.views.items():
        lam = share.view(-1, *(1 for _ in view.shape[1:]))
        torch.testing.assert_close(mixed[name], lam * view + (1 - lam) * view[partner])
    for name, label in batch.labels.items():
        assert torch.equal(mixed.labels[name], label)
        assert torch.equal(mixed.labels[PARTNER + name], label[partner])
    assert torch.equal(mixed.ids, batch.ids)


def test_shares_are_drawn_from_a_symmetric_beta_distribution() -> None:
    torch.manual_seed(0)
    shares = torch.stack([mixup(whole(2), 0.3).labels[SHARE][0] for _ in range(2000)])
    expected = torch.distributions.Beta(0.3, 0.3)
    assert float(shares.mean()) == pytest.approx(0.5, abs=4 * float(expected.stddev) / 2000**0.5)
    assert float(shares.std()) == pytest.approx(float(expected.stddev), rel=0.05)


@on_ranks
def test_ranks_blend_the_same_rows(size: int, rank_pool: Callable[[int], RankPool]) -> None:
    alone = job_mixed(0, 1)
    for found in rank_pool(size).run(job_mixed):
        for name, value in alone.items():
            assert torch.equal(found[name], value), name


def test_tokens_are_refused() -> None:
    batch = replace(whole(), views={"text": torch.ones(11, 5, dtype=torch.int64)})
    with pytest.raises(ValueError, match=r"text holds torch\.int64: leave mixup out"):
        mixup(batch, 1.0)
