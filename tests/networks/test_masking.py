"""Masks: what is drawn, and what a tower makes of the visible patches alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from counterpoint.networks import VisionTransformer, build_towers, initialise
from counterpoint.networks.base import ImageTower
from counterpoint.networks.decoder import MaskedDecoder, sine_cosine_positions
from counterpoint.networks.fusion.cross_attention import CrossAttentionBlock
from counterpoint.networks.masking import (
    MaskKind,
    draw_visible,
    drawn_for_batch,
    gather_patches,
    hidden_patches,
    patches_of_columns,
    visible_count,
)
from counterpoint.recipes.schema import Towers

PICTURES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
"""Sixteen patches of 8 pixels each."""


@pytest.fixture(params=["vit", "timm:test_vit.r160_in1k", "timm:test_vit2.r160_in1k"])
def tower(request: pytest.FixtureRequest) -> ImageTower:
    size = 32 if request.param == "vit" else 160
    made = build_towers(Towers(image=request.param, image_size=size), {"text": ["a"]}, 0)["image"]
    assert isinstance(made, ImageTower)
    return made.eval()


def small() -> VisionTransformer:
    tower = VisionTransformer(32, 8, width=16, depth=2, heads=2)
    initialise(tower, 0)
    return tower.double()


@pytest.mark.parametrize("kind", ["random", "block", "reversed-block"])
def test_masks_have_as_many_different_patches_as_asked_for(kind: MaskKind) -> None:
    torch.manual_seed(0)
    for grid, visible in [((6, 6), 9), ((3, 5), 1), ((4, 4), 15)]:
        index = draw_visible(kind, 50, grid, visible)
        assert index.shape == (50, visible)
        assert (index.diff(dim=1) > 0).all()
        assert index.min() >= 0
        assert index.max() < grid[0] * grid[1]
        assert len(set(map(tuple, index.tolist()))) > 10


def test_hidden_blocks_are_connected_more_than_random_patches() -> None:
    def neighbours(index: torch.Tensor) -> float:
        shown = torch.zeros(len(index), 36).scatter(1, index, 1.0).view(-1, 6, 6)
        return float((shown[:, 1:] * shown[:, :-1]).sum() / len(index))

    torch.manual_seed(0)
    by_kind = {kind: draw_visible(kind, 200, (6, 6), 12) for kind in ("random", "block", "reversed-block")}
    hidden = {kind: neighbours(hidden_patches(index, 36)) for kind, index in by_kind.items()}
    assert neighbours(by_kind["reversed-block"]) > neighbours(by_kind["random"]) + 1
    assert hidden["block"] > hidden["random"] + 1


def test_hidden_patches_are_all_others() -> None:
    torch.manual_seed(0)
    index = draw_visible("random", 20, (4, 4), 5)
    both = torch.cat([index, hidden_patches(index, 16)], 1).sort(1).values
    assert torch.equal(both, torch.arange(16).expand(20, -1))


def test_budget_over_columns_is_exact_and_follows_the_dirichlet_draw() -> None:
    torch.manual_seed(0)
    sizes, total = (16, 16, 4), 12
    index = patches_of_columns(2000, sizes, total)
    assert index.shape == (2000, total)
    assert (index.diff(dim=1) > 0).all()
    shares = torch.stack([(index < 16).sum(1), ((index >= 16) & (index < 32)).sum(1)]).float() / total
    # One of two large columns has all the budget now and then, and both have the same on average.
    assert shares.max() == 1
    assert shares.min() == 0
    torch.testing.assert_close(shares[0].mean(), shares[1].mean(), atol=0.03, rtol=0)
    even = patches_of_columns(2000, sizes, total, concentration=1e6)
    assert torch.equal((even < 16).sum(1), torch.full((2000,), 4))


def test_columns_that_are_missing_give_no_patches() -> None:
    torch.manual_seed(0)
    present = torch.tensor([[True, False], [False, True], [True, True]])
    index = patches_of_columns(3, (9, 9), 6, present=present)
    assert index[0].max() < 9
    assert index[1].min() >= 9
    with pytest.raises(ValueError, match="10 visible patches of an example whose columns have 9"):
        patches_of_columns(3, (9, 9), 10, present=present)


@pytest.mark.parametrize(("hidden", "message"), [(0.99, "none visible"), (0.01, "hides none")])
def test_masks_that_keep_nothing_or_everything_are_refused(hidden: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        visible_count(16, hidden)


def test_one_process_draws_all_rows() -> None:
    torch.manual_seed(0)
    mine = drawn_for_batch(4, torch.device("cpu"), lambda n: torch.rand(n, 3))
    torch.manual_seed(0)
    assert torch.equal(mine, torch.rand(4, 3))


@torch.no_grad()
def test_all_patches_visible_is_the_tower_itself(tower: ImageTower) -> None:
    x = torch.rand(2, 3, tower.size, tower.size, generator=torch.Generator().manual_seed(0))
    patches = tower.patches(x).flatten(2).mT
    everything = torch.arange(patches.shape[1]).expand(2, -1)
    for token in (None, torch.randn(tower.width)):
        states = tower.encode_visible(x, everything, token)
        torch.testing.assert_close(states.summary, tower(x), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(states.patches, patches, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_pixels_of_other_patches_change_nothing_at_all(tower: ImageTower) -> None:
    x = torch.rand(2, 3, tower.size, tower.size, generator=torch.Generator().manual_seed(0))
    rows, columns = tower.patches(x).shape[2:]
    side = tower.size // rows
    index = torch.tensor([[0, 3, columns], [1, 2, 2 * columns + 1]])
    shown = torch.zeros(2, rows * columns).scatter(1, index, 1.0).view(2, 1, rows, columns)
    pixels = shown.repeat_interleave(side, 2).repeat_interleave(side, 3)
    changed = x * pixels + (1 - pixels) * torch.rand(x.shape, generator=torch.Generator().manual_seed(1))
    for token, count in ((None, 3), (torch.randn(tower.width), rows * columns)):
        one, other = tower.encode_visible(x, index, token), tower.encode_visible(changed, index, token)
        assert one.patches.shape == (2, count, tower.width)
        assert torch.equal(one.patches, other.patches)
        assert torch.equal(one.summary, other.summary)
        again = tower.encode_visible(x.flip(3), index, token)
        assert not torch.allclose(one.patches, again.patches, atol=1e-4)


@torch.no_grad()
def test_positions_are_those_of_the_whole_picture() -> None:
    tower, x = small(), PICTURES.double()
    index = torch.tensor([[5, 10]]).expand(3, -1)
    tokens = tower.patch_embedding.weight.new_empty(3, 2, 16)
    for k, patch in enumerate((5, 10)):
        row, column = divmod(patch, 4)
        cut: torch.Tensor = tower.normalise(x)[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        tokens[:, k] = tower.patch_embedding(cut.flatten(1)) + tower.position_embedding.weight[patch]
    for block in tower.blocks:
        tokens = block(tokens)
    torch.testing.assert_close(tower.encode_visible(x, index).patches, tower.norm(tokens))


def test_towers_that_cannot_leave_patches_out_say_so() -> None:
    for name in ("cnn", "vit-map", "timm:test_resnet.r160_in1k"):
        tower = build_towers(Towers(image=name, image_size=32), {"text": ["a"]}, 0)["image"]
        assert isinstance(tower, ImageTower)
        assert not tower.takes_masks
        with pytest.raises(LookupError, match="cannot leave patches"):
            tower.encode_visible(PICTURES, torch.zeros(3, 1, dtype=torch.long))


@torch.no_grad()
def test_masked_encoding_is_lightlys() -> None:
    modules: Any = pytest.importorskip("lightly.models.modules")
    tower = build_towers(Towers(image="timm:test_vit.r160_in1k", image_size=160), {"text": ["a"]}, 0)["image"]
    assert isinstance(tower, ImageTower)
    model: Any = tower.eval().model
    normalise: Any = tower.normalise
    positions = model.pos_embed.clone()
    theirs = modules.MaskedVisionTransformerTIMM(model, weight_initialization="skip")
    model.pos_embed.copy_(positions)
    x = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([[0, 7, 12], [3, 4, 80]])
    prefix = torch.zeros(2, 1, dtype=torch.long)
    states = theirs.encode(normalise(x), idx_keep=torch.cat([prefix, index + 1], 1))
    head = model.fc_norm(states)
    torch.testing.assert_close(tower.encode_visible(x, index).patches, head[:, 1:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(tower.encode_visible(x, index).summary, head[:, 0], atol=1e-5, rtol=1e-4)


def test_positions_and_patches_are_lightlys() -> None:
    utils: Any = pytest.importorskip("lightly.models.utils")
    theirs = utils.get_2d_sine_cosine_positional_embedding(16, 5, cls_token=False)
    torch.testing.assert_close(
        sine_cosine_positions(16, (5, 5)), torch.as_tensor(theirs, dtype=torch.float32)
    )
    tower = small()
    pixels, _ = tower.pixels_and_positions(PICTURES.double())
    patches = utils.patchify(tower.normalise(PICTURES.double()), 8)
    # lightly's patches have the colours last, torch's the colours first.
    torch.testing.assert_close(pixels.view(3, 16, 3, 64).mT.flatten(2), patches)


def test_decoder_shows_the_visible_states_at_their_positions() -> None:
    decoder = MaskedDecoder(16, (4, 4), width=8, depth=0)
    initialise(decoder, 0)
    states, summary = torch.randn(2, 3, 16), torch.randn(2, 16)
    index = torch.tensor([[0, 5, 9], [1, 2, 15]])
    read, patches = decoder(summary, states, index)
    x = decoder.mask_token.weight.detach().repeat(2, 16, 1)
    for row in range(2):
        for k, patch in enumerate(index[row]):
            x[row, patch] = decoder.embed(states[row, k])
    torch.testing.assert_close(patches, decoder.norm(x + sine_cosine_positions(8, (4, 4))))
    torch.testing.assert_close(read, decoder.norm(decoder.embed(summary)))
    assert torch.equal(gather_patches(patches, index)[1, 2], patches[1, 15])


@pytest.mark.parametrize("residual", [True, False])
def test_cross_attention_is_the_formula(residual: bool) -> None:
    torch.manual_seed(0)
    block = CrossAttentionBlock(8, heads=2, residual=residual).double()
    x, context = torch.randn(2, 5, 8).double(), torch.randn(2, 3, 8).double()
    mask = torch.tensor([[True, True, False], [True, True, True]])
    keys, values = block.kv(block.context_norm(context)).chunk(2, -1)
    queries = block.q(block.norm(x))
    attended = torch.zeros_like(x)
    for row in range(2):
        for head in (slice(0, 4), slice(4, 8)):
            scores = queries[row, :, head] @ keys[row, mask[row], head].T / 4**0.5
            attended[row, :, head] = scores.softmax(-1) @ values[row, mask[row], head]
    y = block.out(attended) + (x if residual else 0)
    torch.testing.assert_close(block(x, context, mask), block.mlp(y))
    assert not torch.allclose(block(x, context), block(x, context, mask))
