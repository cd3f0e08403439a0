"""CoSENT: the order of labels, ties, what is unknown, and the reference implementation."""

from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F
from sentence_transformers.sentence_transformer.losses import CoSENTLoss as Reference
from torch import nn

from counterpoint.losses import CoSENTLoss
from fixtures.vectors import F64, views


def test_it_is_that_of_sentence_transformers() -> None:
    class Through(nn.Module):
        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"sentence_embedding": features["z"]}

    x, y = views(2, 9, 4)
    labels = torch.tensor([0.0, 3.5, 1.0, 1.0, 5.0, 2.0, 0.0, 4.0, 3.0], dtype=F64)
    reference = Reference(Through())([{"z": x}, {"z": y}], labels)  # type: ignore[arg-type] # any module that embeds
    # Theirs masks by a logit of -1e12 and computes in float32.
    torch.testing.assert_close(CoSENTLoss()(x, y, labels=labels), reference.double(), rtol=1e-5, atol=0)


def test_ties_and_pairs_that_nothing_is_known_of_give_no_term() -> None:
    x, y = views(2, 5, 4)
    loss = CoSENTLoss()
    assert loss(x, y, labels=torch.full((5,), 3)).item() == 0
    assert loss(x, y, labels=torch.full((5,), -1)).item() == 0
    whole = loss(x[:3], y[:3], labels=torch.tensor([2, 0, 1]))
    unknown = loss(x, y, labels=torch.tensor([2, 0, 1, -1, -1]))
    nan = loss(x, y, labels=torch.tensor([2.0, 0.0, 1.0, math.nan, math.nan]))
    torch.testing.assert_close(unknown, whole)
    torch.testing.assert_close(nan, whole)


def test_the_order_of_the_labels_counts_and_nothing_else() -> None:
    x, y = views(2, 6, 4)
    labels = torch.tensor([0, 1, 1, 2, 4, 3])
    torch.testing.assert_close(CoSENTLoss()(x, y, labels=labels), CoSENTLoss()(x, y, labels=labels**2 / 7))


def test_pairs_in_order_cost_little_and_pairs_in_reverse_much() -> None:
    angles = torch.tensor([0.1, 0.6, 1.2], dtype=F64)
    x = torch.tensor([[1.0, 0.0]] * 3, dtype=F64)
    y = torch.stack([angles.cos(), angles.sin()], 1)
    loss = CoSENTLoss(0.05)
    assert loss(x, y, labels=torch.tensor([2, 1, 0])) < 0.1
    assert loss(x, y, labels=torch.tensor([0, 1, 2])) > 10


def test_labels_must_be_one_a_row() -> None:
    x = F.normalize(torch.randn(3, 2), dim=1)
    with pytest.raises(ValueError, match="one number per row"):
        unwrap(CoSENTLoss.forward)(CoSENTLoss(), x, x, labels=torch.zeros(4))
