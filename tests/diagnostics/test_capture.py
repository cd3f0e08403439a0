from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.diagnostics.capture import captured
from counterpoint.interop.timm import TimmTower
from counterpoint.networks.base import ImageTower, Tower
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.convnet import ConvNet
from counterpoint.networks.towers.tokenizer import BytePairTokenizer
from counterpoint.networks.towers.transformer import TextTransformer, VisionTransformer
from fixtures.open_clip import small_open_clip

CAPTIONS = ["a red car", "a blue car in the rain", "car"]


def pictures(size: int, n: int = 3) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def vit() -> VisionTransformer:
    tower = VisionTransformer(size=24, patch=8, width=16, depth=3, heads=2)
    initialise(tower, 0)
    return tower.eval()


def timm_vit(**options: Any) -> TimmTower:
    from timm.models.vision_transformer import VisionTransformer as TimmViT

    torch.manual_seed(0)
    model = TimmViT(img_size=24, patch_size=8, embed_dim=16, depth=3, num_heads=2, num_classes=0, **options)
    return TimmTower(model, 24, (0.5,) * 3, (0.5,) * 3).eval()


def test_built_in_states_and_attention_are_those_of_equations() -> None:
    tower, x = vit(), pictures(24)
    found = captured(tower, x)
    patches = F.pixel_unshuffle(tower.normalise(x), 8).flatten(2).transpose(1, 2)
    h = tower.patch_embedding(patches) + tower.position_embedding.weight
    for index, block in enumerate(tower.blocks):
        q, k, v = block.qkv(block.norm_1(h)).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)  # type: ignore[operator, union-attr]
        weights = (q @ k.mT / 8**0.5).softmax(-1)
        torch.testing.assert_close(found.attention[index], weights)
        h = h + block.out((weights @ v).transpose(1, 2).flatten(2))  # type: ignore[operator]
        torch.testing.assert_close(found.states[2 * index], h)
        h = h + block.down(F.gelu(block.up(block.norm_2(h))))  # type: ignore[operator]
        torch.testing.assert_close(found.states[2 * index + 1], h)
    torch.testing.assert_close(found.output, tower(x))
    assert [str(step) for step in found.steps[:3]] == ["0 attention", "0 mlp", "1 attention"]
    torch.testing.assert_close(found.maps()[-1][:, :, 1, 2], found.states[-1][:, 5])


@pytest.mark.parametrize("options", [{}, {"reg_tokens": 2}, {"class_token": False, "global_pool": "avg"}])
def test_timm_towers_with_and_without_tokens_before_the_patches(options: dict[str, Any]) -> None:
    tower, x = timm_vit(**options), pictures(24)
    found = captured(tower, x)
    assert found.grid == (3, 3)
    assert found.prefix == {"reg_tokens": 3, "class_token": 0}.get(next(iter(options), ""), 1)
    torch.testing.assert_close(found.output, tower(x))
    for block in tower.model.blocks:  # type: ignore[union-attr] # timm's own path in the open, as a witness
        block.attn.fused_attn = False
    outputs: list[Tensor] = []
    handles = [
        block.attn.attn_drop.register_forward_hook(lambda m, a, out: outputs.append(out))
        for block in tower.model.blocks  # type: ignore[union-attr]
    ]
    tower(x)
    for handle in handles:
        handle.remove()
    for mine, theirs in zip(found.attention, outputs, strict=True):
        torch.testing.assert_close(mine, theirs)
    with pytest.raises(ValueError, match="no attention to read"):
        captured(tower, x).attended()


def test_open_clip_towers_of_both_kinds(tmp_path: Path) -> None:
    image, text = small_open_clip(tmp_path)
    x, tokens = pictures(image.size), text.tokenizer(CAPTIONS)
    with torch.no_grad():
        of_images, of_texts = captured(image, x), captured(text, tokens)
        torch.testing.assert_close(of_images.output, image(x))
        torch.testing.assert_close(of_texts.output, text(tokens))
    assert (of_images.grid, of_images.prefix) == ((2, 2), 1)
    for found in (of_images, of_texts):
        assert len(found.attention) == 2
        torch.testing.assert_close(found.attention[0].sum(-1), torch.ones(found.attention[0].shape[:3]))
    assert not of_texts.attention[0].triu(1).any()  # its mask is added, not declared causal
    block = image.model.visual.transformer.resblocks[0]  # type: ignore[union-attr]
    normed = block.ln_1(image.model.visual._embeds(image.normalise(x)))  # type: ignore[operator, union-attr]
    _, weights = block.attn(normed, normed, normed, average_attn_weights=False)  # type: ignore[operator, union-attr]
    torch.testing.assert_close(of_images.attention[0], weights)


def test_text_states_laid_out_per_caption_and_attention_causal() -> None:
    tokenizer = BytePairTokenizer.train(CAPTIONS, 300, 12)
    tower = TextTransformer(tokenizer, width=16, depth=2, heads=2)
    initialise(tower, 0)
    tokens = tokenizer(CAPTIONS)
    found = captured(tower.eval(), tokens)
    length = int((tokens[0] == tokenizer.end).float().argmax())
    torch.testing.assert_close(tower.norm(found.states[-1])[0, length], found.output[0])
    assert not found.states[-1][0, length + 1 :].any()
    assert not found.attention[1].triu(1).any()
    with pytest.raises(ValueError, match="no map"):
        found.maps()


def test_convolutions_have_blocks_and_maps_and_no_attention() -> None:
    tower = ConvNet(size=32, widths=(4, 8))
    initialise(tower, 0)
    found = captured(tower, pictures(32))
    assert [(step.block, step.kind) for step in found.steps] == [(0, "block"), (1, "block")]
    assert [tuple(m.shape[1:]) for m in found.maps()] == [(4, 8, 8), (8, 4, 4)]
    with pytest.raises(ValueError, match="no attention to read: give a transformer"):
        found.attended()


def test_nothing_of_the_tower_changes_even_where_it_fails() -> None:
    tower, original, fast = (
        vit().train(),
        F.scaled_dot_product_attention,
        torch.backends.mha.get_fastpath_enabled(),
    )
    captured(tower, pictures(24))
    with pytest.raises(RuntimeError):
        captured(tower, pictures(30))
    assert tower.training
    assert F.scaled_dot_product_attention is original
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in tower.modules())


class _Plain(ImageTower):
    def __init__(self) -> None:
        super().__init__()
        self.size, self.width = 8, 3
        self.layer = nn.Linear(3, 3)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.layer(images.mean((2, 3)))
        return found


def test_a_tower_without_blocks_is_refused() -> None:
    tower: Tower = _Plain()
    with pytest.raises(ValueError, match="_Plain has no list of residual blocks"):
        captured(tower, pictures(8))


class _DropLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :5]


def test_a_tower_that_drops_patches_has_no_map() -> None:
    tower = timm_vit(patch_drop_rate=0.5)
    tower.model.patch_drop = _DropLast()
    with pytest.raises(ValueError, match="dropped or merged"):
        captured(tower, pictures(24))
