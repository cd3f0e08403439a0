"""What patches say: components as colours, the marked patch."""

from __future__ import annotations

import pytest
import torch

from counterpoint.diagnostics.report.patch_features import components, most_distinct, outlined


def test_components_are_the_directions_of_most_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(4 * 5 * 5, 3, generator=generator) * torch.tensor([9.0, 3.0, 1.0])
    basis, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    maps = (scores @ basis[:3] + 0.01 * torch.randn(100, 6, generator=generator)).view(4, 5, 5, 6)
    colours, share = components(maps)
    assert share == pytest.approx(1, abs=1e-3)
    assert (colours.amin(), colours.amax()) == (0, 1)
    for k in range(3):
        together = torch.stack([colours[..., k].flatten().float(), scores[:, k]])
        assert torch.corrcoef(together)[0, 1].abs() > 0.95
    assert components(maps[..., :2])[0].shape == (4, 5, 5, 3)


def test_the_marked_patch_is_the_most_distinct_and_outlined() -> None:
    maps = torch.zeros(1, 2, 3, 4)
    maps[0, 1, 2] = 1
    assert most_distinct(maps).tolist() == [5]
    picture = outlined(torch.zeros(3, 8, 9, dtype=torch.uint8), 5, (2, 3))
    red = picture[..., 0] == 255
    assert red[4:, 6:].sum() == red.sum() == 10
    assert not picture[..., 1:].any()
