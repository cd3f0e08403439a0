"""Features of places: what pooling makes of them is what the tower returns."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from counterpoint.interop.open_clip import OpenClipImage
from counterpoint.methods import create
from counterpoint.networks import build_towers
from counterpoint.networks.base import ImageTower, TextTower
from counterpoint.recipes import load
from counterpoint.recipes.schema import Towers
from counterpoint.registry import UnknownNameError

CAPTIONS = ["a red car", "a blue car"]


def towers(name: str, size: int) -> tuple[ImageTower, TextTower]:
    image, text = build_towers(Towers(image=name, image_size=size), {"text": CAPTIONS}, 0).values()
    return image.eval(), text.eval()


@pytest.mark.parametrize(
    ("name", "size", "grid"),
    [
        ("cnn", 32, (2, 2)),
        ("vit", 48, (6, 6)),
        ("timm:test_resnet.r160_in1k", 64, (2, 2)),
        ("timm:test_byobnet.r160_in1k", 64, (2, 2)),
    ],
)
def test_mean_of_places_is_the_feature_where_the_tower_averages(
    name: str, size: int, grid: tuple[int, int]
) -> None:
    tower, _ = towers(name, size)
    x = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        places = tower.patches(x)
        assert places.shape == (3, tower.width, *grid)
        torch.testing.assert_close(places.mean((2, 3)), tower(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "name", ["timm:test_vit.r160_in1k", "timm:test_vit3.r160_in1k", "timm:swin_tiny_patch4_window7_224"]
)
def test_other_heads_see_each_place_by_itself(name: str) -> None:
    size = 64 if "swin" in name else 160
    tower, _ = towers(name, size)
    x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        places = tower.patches(x)
        assert places.shape[:2] == (2, tower.width)
        assert len(places.unique()) > places[0].numel() / 2
        # One example's places do not depend on the others in the batch.
        torch.testing.assert_close(tower.patches(x[1:]), places[1:], atol=1e-4, rtol=1e-3)


TEXT = {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "layers": 2, "width": 32, "patch_size": 16, "head_width": 16}


def open_clip_image(model: type[torch.nn.Module] = open_clip.CLIP, **vision: object) -> OpenClipImage:
    torch.manual_seed(0)
    config = vision if "timm_model_name" in vision else VISION | vision
    made = model(embed_dim=16, vision_cfg=config, text_cfg=TEXT)
    pixels = {"size": config["image_size"], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.3]}
    open_clip.model.set_model_preprocess_cfg(made, pixels)
    return OpenClipImage(made).eval()


@pytest.mark.parametrize("pool", ["tok", "avg"])
def test_places_open_clips_transformer_go_through_norm(pool: str) -> None:
    tower = open_clip_image(pool_type=pool)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    visual = tower.model.visual
    with torch.no_grad():
        places = tower.patches(x)
        states = visual.transformer(visual._embeds(tower.normalise(x)))
        expected = visual.ln_post(states[:, 1:]) @ visual.proj
        assert places.shape == (2, 16, 2, 2)
        torch.testing.assert_close(places.flatten(2).mT, expected, atol=1e-5, rtol=1e-4)
        if pool == "avg":
            torch.testing.assert_close(places.mean((2, 3)), tower(x), atol=1e-5, rtol=1e-4)


def test_places_of_timm_trunk_in_open_clip_go_through_both_heads() -> None:
    tower = open_clip_image(
        open_clip.CustomTextCLIP,
        timm_model_name="test_resnet",
        timm_model_pretrained=False,
        timm_pool="avg",
        timm_proj="linear",
        image_size=64,
    )
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(tower.patches(x).mean((2, 3)), tower(x), atol=1e-5, rtol=1e-4)


def test_poolings_that_mix_places_have_none() -> None:
    pooled = open_clip_image(attentional_pool=True, attn_pooler_queries=4)
    resnet = open_clip_image(layers=[1, 1, 1, 1], head_width=64)
    for tower in (pooled, resnet):
        with pytest.raises(LookupError, match="OpenClipImage has no features of single places"):
            tower.patches(torch.rand(1, 3, 32, 32))


def test_a_tower_without_places_says_so() -> None:
    class Whole(ImageTower):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)

    with pytest.raises(LookupError, match="Whole has no features of single places of a picture"):
        Whole().patches(torch.zeros(1, 3, 4, 4))


def test_a_methods_places_lie_in_the_space_of_its_captions() -> None:
    recipe = load("cpu")
    model = create("clip", dict(zip(("image", "text"), towers("cnn", 32), strict=True)), recipe)
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, 40, 56), np.uint8))
    model.train()
    places = model.embed_patches(pictures)
    assert model.training
    assert places.shape == (3, model.embed("text", ["a car"]).shape[1], 2, 2)
    torch.testing.assert_close(places.norm(dim=1), torch.ones(3, 2, 2))
    assert model.patch_features(pictures).shape == (3, model.image_tower.width, 2, 2)
    # The head is linear: the picture's embedding is the direction of the mean of places before they are normalised.
    raw = model.patch_features(pictures).mean((2, 3))
    whole = F.normalize(model.project("image", raw, "global"), dim=1)
    torch.testing.assert_close(whole, model.embed("image", pictures), atol=1e-5, rtol=1e-4)
    with pytest.raises(UnknownNameError):
        model.embed_patches(pictures, head="locall")
