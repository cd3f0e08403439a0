"""NaFlex: sizes, positions and pooling of transformers, and padding that changes nothing."""

from __future__ import annotations

import pytest
import torch
from transformers import Siglip2VisionConfig, Siglip2VisionModel
from transformers.models.siglip2.image_processing_siglip2 import get_image_size_for_max_num_patches

from counterpoint.networks.init import initialise
from counterpoint.networks.towers.naflex import NaFlexTransformer, size_within


def tower() -> NaFlexTransformer:
    made = NaFlexTransformer(size=32, patch=8, width=16, depth=2, heads=2)
    initialise(made, 0)
    return made.eval()


def test_sizes_are_those_of_transformers() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        height, width = torch.randint(1, 2000, (2,), generator=generator).tolist()
        patch = (8, 14, 16, 32)[int(torch.randint(4, (), generator=generator))]
        patches = int(torch.randint(1, 1025, (), generator=generator))
        size = size_within(height, width, patch, patches)
        assert size == get_image_size_for_max_num_patches(height, width, patch, patches)
        assert (size[0] // patch) * (size[1] // patch) <= patches


def test_features_are_those_of_transformers_with_the_same_weights() -> None:
    ours = tower()
    config = Siglip2VisionConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, num_patches=16, patch_size=8
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    config.hidden_act, config.layer_norm_eps = "gelu", 1e-5
    theirs = Siglip2VisionModel(config).eval()
    names = {
        "embeddings.patch_embedding.bias": ours.patch_embedding.bias,
        "embeddings.position_embedding.weight": ours.position_embedding.weight,
        "post_layernorm.weight": ours.norm.weight,
        "post_layernorm.bias": ours.norm.bias,
        "head.probe": ours.probe.weight[None],
        "head.attention.in_proj_weight": torch.cat([torch.eye(16), ours.kv.weight]),
        "head.attention.in_proj_bias": torch.cat([torch.zeros(16), ours.kv.bias]),
        "head.attention.out_proj.weight": ours.out.weight,
        "head.attention.out_proj.bias": ours.out.bias,
        "head.layernorm.weight": ours.norm_2.weight,
        "head.layernorm.bias": ours.norm_2.bias,
    }
    # Pixels of a patch are row by row there, and channel by channel here.
    names["embeddings.patch_embedding.weight"] = (
        ours.patch_embedding.weight.view(16, 3, 8, 8).permute(0, 2, 3, 1).flatten(1)
    )
    for kind, name in (("weight", "weight"), ("bias", "bias")):
        for part, layer in (("fc1", ours.up), ("fc2", ours.down)):
            names[f"head.mlp.{part}.{kind}"] = layer.get_parameter(name)
        for number, block in enumerate(ours.blocks):
            q, k, v = block.get_submodule("qkv").get_parameter(name).chunk(3)
            parts = {"self_attn.q_proj": q, "self_attn.k_proj": k, "self_attn.v_proj": v}
            for there, here in (
                ("self_attn.out_proj", "out"),
                ("layer_norm1", "norm_1"),
                ("layer_norm2", "norm_2"),
                ("mlp.fc1", "up"),
                ("mlp.fc2", "down"),
            ):
                parts[there] = block.get_submodule(here).get_parameter(name)
            names |= {f"encoder.layers.{number}.{there}.{kind}": p for there, p in parts.items()}
    known = set(theirs.state_dict())
    prefix = "vision_model." if any(name.startswith("vision_model.") for name in known) else ""
    theirs.load_state_dict({f"{prefix}{name}": tensor for name, tensor in names.items()})
    pictures = [torch.randint(0, 256, size, dtype=torch.uint8) for size in ((3, 40, 90), (3, 60, 20))]
    images = ours.native(pictures)
    shown = ours.patches_shown(images)
    pixels = ours.normalise(images.nan_to_num())
    patches = pixels.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 4, 5, 1).flatten(3)
    most = int(shown.flatten(1).sum(1).max())
    packed = torch.zeros(2, most, 192)
    mask = torch.zeros(2, most, dtype=torch.long)
    for row in range(2):
        own = patches[row][shown[row]]
        packed[row, : len(own)], mask[row, : len(own)] = own, 1
    sizes = torch.stack([shown[:, :, 0].sum(1), shown[:, 0].sum(1)], 1)
    with torch.no_grad():
        expected = theirs(pixel_values=packed, pixel_attention_mask=mask, spatial_shapes=sizes).pooler_output
        torch.testing.assert_close(ours(images), expected, rtol=1e-4, atol=1e-5)


def test_padding_changes_no_embedding() -> None:
    ours = tower()
    wide, tall = (torch.randint(0, 256, size, dtype=torch.uint8) for size in ((3, 30, 90), (3, 90, 30)))
    with torch.no_grad():
        together = ours(ours.native([wide, tall]))
        alone = torch.cat([ours(ours.native([picture])) for picture in (wide, tall)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert ours.patches_shown(ours.native([wide, tall])).flatten(1).sum(1).max() <= ours.budget
    square = torch.rand(2, 3, 32, 32)
    assert ours.patches_shown(square).all()


def test_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        tower().native([])
