"""The built-in transformers: causal, padding-proof, dropout where the paper has it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.networks import BytePairTokenizer, TextTransformer, VisionTransformer, initialise
from counterpoint.networks.towers.parts.pooling import Packing, inside
from counterpoint.networks.towers.transformer import TextReader, TransformerBlock

CAPTIONS = ["a red car", "a blue car on a red road", "woman", "grinning face"]


def text(depth: int = 2) -> TextTransformer:
    tower = TextTransformer(BytePairTokenizer.train(CAPTIONS, 300, 16), width=32, depth=depth, heads=4)
    initialise(tower, 0)
    return tower.double()


def test_padding_and_the_rest_of_the_batch_change_nothing() -> None:
    tower = text()
    together = tower(tower.tokenizer(CAPTIONS))
    for caption, features in zip(CAPTIONS, together, strict=True):
        assert torch.allclose(tower(tower.tokenizer([caption]))[0], features, rtol=1e-10)
    padded = F.pad(tower.tokenizer(CAPTIONS), (0, 3))
    assert torch.allclose(tower(padded), together, rtol=1e-10)


def test_packed_states_are_those_of_the_padded_grid() -> None:
    tower = text()
    tokens = tower.tokenizer(CAPTIONS)
    x = tower.token_embedding(tokens) + tower.position_embedding.weight[: tokens.shape[1]]
    for block in tower.blocks:
        x = block(x)
    ends = (tokens == 2).long().argmax(1)
    assert torch.allclose(tower(tokens), tower.norm(x)[torch.arange(4), ends], rtol=1e-10)


def test_what_follows_the_end_is_not_seen() -> None:
    tower = text()
    tokens = tower.tokenizer(CAPTIONS)
    after = (tokens == 2).cumsum(1) - (tokens == 2).long() > 0
    assert torch.allclose(tower(tokens.masked_fill(after, 7)), tower(tokens), rtol=1e-10)


@pytest.mark.parametrize("how", ["mean", "max", "first"])
def test_other_poolings_ignore_padding(how: str) -> None:
    tower = text()
    tower.pooling = how  # type: ignore[assignment]
    tokens = tower.tokenizer(CAPTIONS)
    assert torch.allclose(tower(F.pad(tokens, (0, 3))), tower(tokens), rtol=1e-10)


def test_block_is_the_formula() -> None:
    torch.manual_seed(0)
    block, x = (
        TransformerBlock(8, heads=2, depth=1, causal=True).double(),
        torch.randn(1, 3, 8, dtype=torch.float64),
    )
    n = block.norm_1(x[0])
    q, k, v = (n @ w.T + b for w, b in zip(block.qkv.weight.split(8), block.qkv.bias.split(8), strict=True))
    attended = torch.zeros(3, 8, dtype=torch.float64)
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        for i in range(3):
            weights = torch.softmax((q[i, part] * k[: i + 1, part]).sum(1) / 4**0.5, 0)
            attended[i, part] = weights @ v[: i + 1, part]
    y = x[0] + block.out(attended)
    y = y + block.down(F.gelu(block.up(block.norm_2(y))))
    assert torch.allclose(block(x)[0], y, rtol=1e-10)


def test_dropout_acts_on_input_of_every_block_and_while_training() -> None:
    tower = text()
    tokens = tower.tokenizer(CAPTIONS)
    plain = tower(tokens)
    assert torch.equal(tower.eval()(tokens, dropout=0.5), plain)
    tower.train()
    assert torch.equal(tower(tokens, dropout=0.0), plain)
    torch.manual_seed(1)
    dropped = tower(tokens, dropout=0.5)
    torch.manual_seed(
        1
    )  # the same masks, drawn by hand: one before each block, on branch and skip path alike
    own = inside(tokens, 2)
    x = (tower.token_embedding(tokens) + tower.position_embedding.weight[: tokens.shape[1]])[own]
    for block in tower.blocks:
        x = block(x * torch.empty_like(x).bernoulli_(0.5) / 0.5, Packing(own))
    ends = own.sum(1).cumsum(0) - 1
    assert torch.allclose(dropped, tower.norm(x)[ends], rtol=1e-10)
    assert not torch.allclose(dropped, plain)


def test_a_dropped_out_input_of_everything_is_only_biases() -> None:
    tower = text().train()
    tokens = tower.tokenizer(CAPTIONS)
    features = tower(tokens, dropout=1.0)
    assert torch.allclose(features[0], features[1]), "nothing of the caption is left"


def test_picture_transformer_sees_patches_of_all_channels() -> None:
    tower = VisionTransformer(32, patch=8, width=16, depth=1, heads=2).double()
    initialise(tower, 0)
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    out = tower(images)
    assert out.shape == (2, 16)
    assert torch.allclose(tower(images[1:]), out[1:])
    for c in range(3):
        other = images.clone()
        other[0, c, 31, 31] += 0.5
        assert not torch.allclose(tower(other)[0], out[0])


def test_a_smaller_picture_has_the_places_interpolated() -> None:
    tower = VisionTransformer(32, width=16, depth=1)
    initialise(tower, 0)
    pictures = torch.rand(3, 3, 32, 32)
    assert tower._positions(4, 4, 3) is tower.position_embedding.weight
    with torch.no_grad():
        tower.position_embedding.weight.copy_(torch.arange(4.0).repeat(4)[:, None].expand(-1, 16))
    across = tower._positions(2, 2, 3).detach()[:, 0]
    assert across[0] < 1.5 < across[1], "left is left"
    torch.testing.assert_close(across[:2], across[2:])
    assert tower(pictures[..., :16, :16]).shape == (3, 16)
    tower.check_side(16)
    with pytest.raises(ValueError, match="32 pixels a side, and none of 12"):
        tower.check_side(12)


def test_patch_must_divide_size() -> None:
    with pytest.raises(ValueError, match="50 is not a multiple of the patch size 8"):
        VisionTransformer(50)


# Prompts that read


def appended(block: TransformerBlock, x: Tensor, count: int, own: Tensor) -> Tensor:
    """A block over tokens and prompts side by side, under the mask that keeps prompts from being seen."""
    length = x.shape[1]
    seen = torch.zeros(len(x), length, length, dtype=torch.bool)
    seen[:] = torch.ones(length, length, dtype=torch.bool).tril() if block.causal else True
    seen[:, :, -count:] = False
    seen[:, -count:] = True
    seen[:, :, :-count] &= own[:, None]
    q, k, v = block.qkv(block.norm_1(x)).unflatten(-1, (3, block.heads, -1)).permute(2, 0, 3, 1, 4)
    x = x + block.out(
        F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None]).transpose(1, 2).flatten(2)
    )
    fed: Tensor = x + block.down(F.gelu(block.up(block.norm_2(x))))
    return fed


@pytest.mark.parametrize("kind", ["text", "image"])
def test_features_exactly_those_without_prompts_read_in_layer(kind: str) -> None:
    g = torch.Generator().manual_seed(0)
    tokenizer, inputs = BytePairTokenizer.train(CAPTIONS, 300, 16), torch.rand(4, 3, 16, 16, generator=g)
    if kind == "text":
        tower: Any = TextTransformer(tokenizer, width=16, depth=3, heads=2)
        inputs = tokenizer(CAPTIONS)
        own = inside(inputs, tokenizer.end)
        x = tower.token_embedding(inputs) + tower.position_embedding.weight[: inputs.shape[1]]
    else:
        tower = VisionTransformer(16, width=16, depth=3, heads=2)
        own = torch.ones(4, 4, dtype=torch.bool)
        patches = F.pixel_unshuffle(tower.normalise(inputs), 8).flatten(2).transpose(1, 2)
        x = tower.patch_embedding(patches) + tower.position_embedding.weight
    prompts = torch.randn(3, 16, generator=g)
    features, read = tower.prompted(inputs, prompts)
    assert torch.equal(features, tower(inputs))
    states = torch.cat([x, prompts.expand(4, -1, -1)], 1)
    for block in tower.blocks:
        states = appended(block, states, 3, own)
    torch.testing.assert_close(read, tower.norm(states[:, -3:]))
    assert not torch.equal(tower.prompted(inputs, prompts + 1)[1], read)


def test_prompts_do_not_see_padding() -> None:
    tower = text()
    prompts = torch.randn(2, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = tower.prompted(tower.tokenizer(CAPTIONS), prompts)[1]
    torch.testing.assert_close(tower.prompted(tower.tokenizer(CAPTIONS[2:3]), prompts)[1], whole[2:3])


def test_a_reader_sees_words_behind_and_no_padding() -> None:
    tokenizer = BytePairTokenizer.train(["a red car", "a blue car"], 300, context=8)
    tower = TextReader(tokenizer, width=16, depth=2, heads=2).eval()
    assert tower.token_table.num_embeddings == tokenizer.vocabulary + 1
    tokens = tokenizer(["a red car", "a"])
    changed = tokens.clone()
    changed[0, -2] = tokenizer.vocabulary  # the last word, hidden behind the mask token
    states, other = tower.states(tokens), tower.states(changed)
    assert not torch.allclose(states[0, 1], other[0, 1])
    assert torch.equal(states[1], other[1])
    alone = tower.states(tokenizer(["a"]))
    torch.testing.assert_close(states[1:, : alone.shape[1]], alone)
    assert not states[1, alone.shape[1] :].any()
    causal = TextTransformer(tokenizer, width=16, depth=2, heads=2)
    assert causal.token_table.num_embeddings == tokenizer.vocabulary
