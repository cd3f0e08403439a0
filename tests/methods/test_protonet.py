"""Prototypical networks as a method: who is a support, what is asked, and the terms of SuSana Distancia."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, StubImage, batch, build, run, through
from torch import Tensor

from counterpoint import methods
from counterpoint.losses import ICNNLoss, ProtoTripletLoss
from counterpoint.methods import Arm
from counterpoint.types import Batch

LABELS = torch.tensor([3, 1, 3, 3, 1, 1, -1, 3, 1])
"""Two classes of four rows, and a row of none."""


def episode(**options: Any) -> tuple[Tensor, dict[str, Tensor], Batch]:
    method = through("protonet", **options)
    whole = batch(method, size=len(LABELS), dtype=torch.float64)
    given = Batch(whole.ids, whole.views, {"group": LABELS})
    return whole["image"], run(method, given), given


def test_first_rows_of_class_are_prototype_and_others_are_asked() -> None:
    x, losses, _ = episode(support=2, temperature=2.0)
    p = torch.stack([x[[1, 4]].mean(0), x[[0, 2]].mean(0)])
    logits = -(torch.cdist(x[[5, 8, 3, 7]], p) ** 2) / 2
    torch.testing.assert_close(losses["cross"], F.cross_entropy(logits, torch.tensor([0, 0, 1, 1])))


def test_terms_are_shares_of_their_mean() -> None:
    terms = ("triplet", "icnn", "icnn-supports", "icnn-queries")
    x, losses, _ = episode(terms=terms, support=2, queries=2, neighbours=2)
    assert tuple(losses) == terms
    known, shown, asked = LABELS >= 0, torch.tensor([0, 1, 2, 4]), torch.tensor([3, 5, 7, 8])
    p = torch.stack([x[[1, 4]].mean(0), x[[0, 2]].mean(0)])
    expected = (
        ProtoTripletLoss()(x[asked], p, labels=LABELS[asked] // 2),
        ICNNLoss(2, pool=4)(x[known], labels=LABELS[known]),
        ICNNLoss(2)(x[shown], labels=LABELS[shown]),
        ICNNLoss(2)(x[asked], x[shown], LABELS[shown], labels=LABELS[asked]),
    )
    for term, value in zip(terms, expected, strict=True):
        torch.testing.assert_close(losses[term], value / 4)


def test_a_row_without_a_class_does_not_matter() -> None:
    x, losses, given = episode(terms=("cross", "triplet", "icnn"), support=1)
    method = through("susana")
    x[6] = 100.0
    assert run(method, given) == losses


def test_batches_hold_the_supports_and_the_queries() -> None:
    assert build("protonet", support=3, queries=4).sampler == "classes:7"


ARMS = ("protonet", "susana", "protonet,terms=triplet-all", "protonet,terms=icnn")


def test_a_search_draws_what_the_terms_have() -> None:
    searched = {arm: set(Arm.parse(arm).tunable()) for arm in ARMS}
    assert list(searched.values()) == [{"temperature"}, {"temperature", "margin"}, {"margin"}, set()]


@pytest.mark.parametrize("terms", [(), ("cross", "cross")])
def test_terms_that_come_twice_or_not_at_all_are_refused(terms: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="name each term once"):
        methods.create("protonet", {"image": StubImage()}, RECIPE, terms=terms)
