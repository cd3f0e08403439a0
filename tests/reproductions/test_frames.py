"""The closed-form bound of supervised contrast on features that cannot be negative."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from counterpoint.losses import SupConLoss
from counterpoint_reproductions.scl_relu import free, lowest


@pytest.mark.parametrize("counts", [(3, 3, 3), (9, 4, 2), (5, 3, 1)])
@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_orthogonal_frame_reaches_bound_nothing_non_negative(
    counts: tuple[int, ...], temperature: float
) -> None:
    labels = torch.arange(3).repeat_interleave(torch.tensor(counts))
    loss, bound = SupConLoss(temperature), lowest(counts, temperature)
    frame = torch.eye(5, dtype=torch.float64)[labels]
    assert loss(frame, labels=labels).item() == pytest.approx(bound, rel=1e-12)
    g = torch.Generator().manual_seed(0)
    for _ in range(50):
        z = frame + torch.rand(1, generator=g) * torch.rand(frame.shape, generator=g, dtype=torch.float64)
        assert loss(F.normalize(z, dim=-1), labels=labels).item() >= bound
    turned = frame - 0.2 * (1 - frame)  # signs let it go below
    assert loss(F.normalize(turned, dim=-1), labels=labels).item() < bound


def test_free_features_reach_frame_with_relu_and_simplex_without() -> None:
    with_relu, without = (free(relu, 1, "all", 0.5, seed=0, steps=300) for relu in (True, False))
    assert with_relu["gap"] == pytest.approx(0, abs=1e-3)
    assert without["gap"] < -0.1
    assert with_relu["frame"] < 0.02 < 0.4 < without["frame"]
    assert without["simplex"] < 0.02 < 0.4 < with_relu["simplex"]
