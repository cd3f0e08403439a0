"""The bridge scan: orders are undone before the sum, and what a patch has read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from counterpoint.networks.bridges.base import Seen
from counterpoint.networks.bridges.scan import ScanBridge, scan_orders
from counterpoint.networks.init import initialise

GRID = (3, 4)


class Running(nn.Module):
    """The sum of a sequence up to each of its tokens."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.cumsum(1)


def bridge(scan: Any) -> ScanBridge:
    made = ScanBridge(6, 8, GRID, scan=scan)
    initialise(made, 0)
    return made.eval()


def test_on_a_ramp_every_order_is_undone() -> None:
    made = bridge("cross")
    made.mixers = nn.ModuleList(Running() for _ in range(4))
    ramp = torch.arange(12.0)[None, :, None].expand(1, -1, 8)
    by_rows, by_columns = ramp[0, :, 0], ramp[0, :, 0].view(GRID).T.flatten()
    both = by_rows.cumsum(0) + by_rows.flip(0).cumsum(0).flip(0)
    turned = by_columns.cumsum(0) + by_columns.flip(0).cumsum(0).flip(0)
    expected = both + turned.view(GRID[::-1]).T.flatten()
    assert torch.equal(made.scanned(ramp)[0, :, 0], expected)
    assert torch.equal(expected, torch.full((12,), 2 * 66.0) + 2 * by_rows)


@pytest.mark.parametrize(("scan", "layers"), [("cross", 4), ("bidirectional", 2), ("single", 4)])
def test_a_patch_reads_all_others_or_itself_alone(scan: str, layers: int) -> None:
    made = bridge(scan)
    assert len(made.mixers) == layers
    patches = torch.randn(1, 12, 6, requires_grad=True)
    (read,) = torch.autograd.grad(made(Seen((patches,), GRID)).tokens[0, 5].square().sum(), patches)
    expected = [5] if scan == "single" else list(range(12))
    assert read[0].abs().sum(1).nonzero()[:, 0].tolist() == expected


def test_single_patches_have_the_parameters_of_a_cross_scan() -> None:
    counts = {scan: sum(p.numel() for p in bridge(scan).parameters()) for scan in ("cross", "single")}
    assert counts["cross"] == counts["single"]
    assert scan_orders(GRID)[2].tolist()[:4] == [0, 4, 8, 1]
