"""InfoNCE with hard negatives: which count, and which are the anchor's own."""

from __future__ import annotations

from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F

from counterpoint.losses import HardNegativesLoss
from fixtures.vectors import F64, views

TAU = 0.1


def test_negatives_of_anchors_further_columns_of_cross_entropy() -> None:
    x, y, one, two = views(4, 6, 4)
    negatives = torch.stack([one, two], 1)
    logits = torch.cat([x @ y.T, x @ negatives.flatten(0, 1).T], 1) / TAU
    expected = F.cross_entropy(logits, torch.arange(6))
    torch.testing.assert_close(HardNegativesLoss(TAU)(x, y, negatives), expected, rtol=1e-12, atol=0)


def test_what_does_not_count_has_no_term_whatever_it_is() -> None:
    x, y, one, two = views(4, 6, 4)
    counts = torch.tensor([[True, False]] * 6)
    loss = HardNegativesLoss(TAU)
    with_both = loss(x, y, torch.stack([one, two], 1), counts)
    torch.testing.assert_close(with_both, loss(x, y, one[:, None]), rtol=1e-12, atol=0)


def test_the_anchors_own_document_is_no_negative_of_it() -> None:
    x, y, one = views(3, 3, 4)
    # The first two anchors have one document, which is mined for the third.
    documents = torch.tensor([7, 7, 2]), torch.tensor([[2], [5], [7]])
    y = y[[0, 0, 2]]
    one = torch.stack([y[2], one[1], y[0]])
    s, h = x @ y.T / TAU, x @ one.T / TAU
    first = torch.stack([s[0, 0], s[0, 2], h[0, 0], h[0, 1]]).logsumexp(0) - s[0, 0]
    second = torch.stack([s[1, 1], s[1, 2], h[1, 0], h[1, 1]]).logsumexp(0) - s[1, 1]
    third = torch.stack([s[2, 0], s[2, 1], s[2, 2], h[2, 1], h[2, 2]]).logsumexp(0) - s[2, 2]
    loss = HardNegativesLoss(TAU)(x, y, one[:, None], None, documents)
    torch.testing.assert_close(loss, (first + second + third) / 3, rtol=1e-12, atol=0)


def test_negatives_of_other_sizes_are_refused() -> None:
    x, y = views(2, 3, 4)
    with pytest.raises(ValueError, match=r"negatives must be \(3, M, 4\)"):
        unwrap(HardNegativesLoss.forward)(HardNegativesLoss(), x, y, torch.zeros(2, 1, 4, dtype=F64))
