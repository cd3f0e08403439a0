"""InfoNCE inside groups: its limits, its weights, and that groups do not meet."""

from __future__ import annotations

import pytest
import torch

from counterpoint.losses import GroupedInfoNCELoss, InfoNCELoss
from counterpoint.losses.grouped_infonce import whole_ranks
from fixtures.vectors import pair


@pytest.mark.parametrize(("groups", "sizes"), [(3, (3, 3, 3)), (2, (4, 5)), (4, (2, 2, 2, 3))])
def test_is_the_mean_over_anchors_of_the_losses_of_its_groups(groups: int, sizes: tuple[int, ...]) -> None:
    x, y = pair(9, 5)
    parts = zip(x.split(list(sizes)), y.split(list(sizes)), strict=True)
    expected = sum(len(a) * InfoNCELoss(0.2)(a, b) for a, b in parts) / 9
    torch.testing.assert_close(
        GroupedInfoNCELoss(groups, temperature=0.2)(x, y), expected, rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("groups", [9, 10, 30])
def test_an_anchor_alone_in_its_group_costs_nothing(groups: int) -> None:
    x, y = pair(9, 5)
    loss = GroupedInfoNCELoss(groups, temperature=0.2)(x, y)
    assert abs(loss.item()) < 1e-12
    assert torch.autograd.grad(loss, x)[0].abs().max() < 1e-12


@pytest.mark.parametrize(
    ("counts", "sizes"),
    [([4, 4, 0], [1, 2]), ([4, 0, 4], [2, 1]), ([0, 4, 4], [2, 1]), ([4, 4, 0, 0], [1, 3])],
    ids=str,
)
def test_a_rank_without_rows_has_a_group_too(counts: list[int], sizes: list[int]) -> None:
    assert whole_ranks(counts, 2) == sizes


def test_no_similarity_of_two_groups_is_formed() -> None:
    x, y = pair(7, 5)
    explanation = GroupedInfoNCELoss(3, temperature=0.2).explain(x, y)
    assert sorted(tuple(f.pull.shape) for f in explanation.forces) == [(2, 2)] * 2 + [(3, 3)]
    assert all(f.positives(i) == [i] for f in explanation.forces for i in range(len(f.pull)))


def test_starts_from_the_temperature_of_clip() -> None:
    temperature = GroupedInfoNCELoss().temperature
    assert temperature.value.item() == pytest.approx(0.07)
    assert temperature.bounds == (0.01, 1.0)
