"""Windowed attention: what a window sees, what the second pass adds, and in which order content is rolled."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from counterpoint.networks import initialise
from counterpoint.networks.towers.transformer import VisionTransformer
from counterpoint.networks.towers.windowed import WindowedTransformer

SIZES = {"size": 16, "patch": 2, "width": 8, "depth": 2, "heads": 2}
"""Eight by eight patches: windows of two by two. The first block has windows, the last one has none."""
HALF = 2
"""Pixels of half a window."""


def tower(kind: type[VisionTransformer] = WindowedTransformer, depth: int = 2) -> VisionTransformer:
    built = kind(**{**SIZES, "depth": depth}).eval().double()
    initialise(built, 0)
    return built


def pictures() -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@torch.no_grad()
def test_patches_see_their_window_alone_until_a_block_is_global() -> None:
    both = tower(depth=2)
    reached: list[Tensor] = []
    both.blocks[0].register_forward_hook(lambda block, args, output: reached.append(output))
    x = pictures()[:1]
    changed = x.clone()
    changed[:, :, :2, :2] = 1 - changed[:, :, :2, :2]
    before, after = both.patches(x), both.patches(changed)
    assert not torch.isclose(before, after).all(1).any(), "the last block is global"
    windows = (reached[0] != reached[1]).any(2)
    assert windows.sum() == 4
    assert windows[0].all(), "the window of the first patch is the first row of tokens"


@torch.no_grad()
def test_without_windows_it_is_a_vision_transformer() -> None:
    one = tower(depth=1)  # whose only block is global
    torch.testing.assert_close(one(pictures()), tower(VisionTransformer, depth=1)(pictures()))


@torch.no_grad()
@pytest.mark.parametrize("side", [10, 12, 14, 24])
def test_grids_of_any_side_have_windows(side: int) -> None:
    assert tower().patches(torch.rand(1, 3, side, side).double()).shape[2:] == (side // 2, side // 2)


@torch.no_grad()
def test_second_pass_rolls_content_and_leaves_positions() -> None:
    """By the definition: mean of both passes before the last norm, with positions added after the roll."""
    windowed = tower()
    pixels, positions = windowed.pixels_and_positions(pictures())
    content = windowed.patch_embedding(pixels)

    def run(tokens: Tensor) -> Tensor:
        grid = (tokens + positions).view(2, 4, 2, 4, 2, 8).transpose(2, 3).reshape(32, 4, 8)
        grid = windowed.blocks[0](grid).view(2, 4, 4, 2, 2, 8).transpose(2, 3).reshape(2, 64, 8)
        return windowed.blocks[1](grid).view(2, 8, 8, 8)

    rolled = content.view(2, 8, 8, 8).roll((-1, 1), (1, 2)).flatten(1, 2)
    expected = windowed.norm((run(content) + run(rolled).roll((1, -1), (1, 2))) / 2)
    windowed.shifted = True
    torch.testing.assert_close(windowed.patches(pictures()), expected.permute(0, 3, 1, 2))


@torch.no_grad()
def test_maps_move_with_pictures_by_half_a_window_with_both_passes_alone() -> None:
    windowed, by = tower(), (-HALF, HALF)
    errors = {}
    for positions in (True, False):
        if not positions:
            windowed.position_embedding.weight.zero_()
        for windowed.shifted in (False, True):
            moved = windowed.patches(pictures().roll(by, (2, 3)))
            errors[positions, windowed.shifted] = float(
                (moved - windowed.patches(pictures()).roll((-1, 1), (2, 3))).square().mean()
            )
    assert errors[False, True] < 1e-20 < errors[False, False]
    assert errors[True, True] < errors[True, False]


def test_patches_cannot_be_left_out_and_prompts_are_not_read() -> None:
    for call in (
        lambda: tower().encode_visible(pictures(), torch.zeros(2, 1, dtype=torch.long)),
        lambda: tower().prompted(pictures(), torch.zeros(1, 8)),
    ):
        with pytest.raises(LookupError):
            call()
