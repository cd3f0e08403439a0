"""Pooling over boxes and masks, embeddings of regions, and the pyramid."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

from counterpoint.methods import create
from counterpoint.networks import VisionTransformer, build_towers
from counterpoint.networks.regions import check_boxes, in_central_square, pool_boxes, pool_masks, pyramid
from counterpoint.recipes import load, override
from counterpoint.recipes.schema import Towers

NAN = float("nan")
MAPS = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
BOXES = torch.tensor([[[0.1, 0.2, 0.45, 0.9], [0, 0, 1, 1]], [[0.5, 0.5, 0.55, 0.55], [0.2, 0, 1, 0.3]]])


def model(image: str, size: int = 32) -> Any:
    sizes = Towers(image=image, image_size=size, image_patch=8, image_width=16, image_layers=1)
    towers = build_towers(sizes, {"text": ["a cat"]}, 0)
    return create("clip", towers, override(load("seconds"), {"widths.embedding": 8})).train()


def pictures(height: int = 32, width: int = 32) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, height, width), generator=g, dtype=torch.uint8)


def test_boxes_are_pooled_by_roi_align() -> None:
    sides = torch.tensor([6, 4, 6, 4], dtype=torch.float64)
    expected = roi_align(MAPS, [boxes * sides for boxes in BOXES.double()], 1, sampling_ratio=0, aligned=True)
    torch.testing.assert_close(pool_boxes(MAPS, BOXES), expected.view(2, 2, 3))


def test_the_whole_box_and_the_whole_mask_are_the_mean_of_all_cells() -> None:
    whole = torch.tensor([[[0.0, 0, 1, 1]]]).expand(2, 1, 4)
    mean = MAPS.mean((2, 3))[:, None]
    torch.testing.assert_close(pool_boxes(MAPS, whole), mean)
    torch.testing.assert_close(pool_masks(MAPS, torch.ones(2, 1, 20, 12, dtype=torch.bool)), mean)


def test_a_mask_weights_cells_by_the_share_that_it_covers() -> None:
    masks = torch.zeros(2, 2, 8, 12, dtype=torch.bool)
    masks[0, 0, :2, :3] = True  # cell (0, 0) and half of cell (0, 1)
    pooled = pool_masks(MAPS, masks)
    torch.testing.assert_close(pooled[0, 0], (2 * MAPS[0, :, 0, 0] + MAPS[0, :, 0, 1]) / 3)
    assert pooled[0, 1].isnan().all()


def test_where_there_is_no_box_there_is_no_number() -> None:
    boxes = torch.cat([BOXES, torch.full((2, 1, 4), NAN)], 1)
    pooled = pool_boxes(MAPS, boxes)
    assert pooled[:, 2].isnan().all()
    torch.testing.assert_close(pooled[:, :2], pool_boxes(MAPS, BOXES))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([0.5, 0.0, 0.5, 1.0], "empty or flipped"),
        ([0.6, 0.0, 0.5, 1.0], "empty or flipped"),
        ([-0.1, 0.0, 0.5, 1.0], "not in the picture"),
        ([0.0, 0.0, 0.5, 1.5], "not in the picture"),
        ([0.0, NAN, 0.5, 1.0], "not in the picture"),
    ],
)
def test_bad_boxes_are_refused(box: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_boxes(torch.tensor([[box]]), 1)


def test_boxes_of_another_number_of_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match=r"boxes of 3 pictures must be floating-point numbers \(3, k, 4\)"):
        check_boxes(BOXES, 3)


def test_boxes_follow_the_central_square() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 0.25, 1.0], [0.25, 0.5, 0.75, 1.0], [0.2, 0.0, 0.5, 0.5]]])
    inside = in_central_square(boxes, 20, 40)
    assert inside[0, 0].isnan().all()
    torch.testing.assert_close(inside[0, 1:], torch.tensor([[0.0, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5]]))


@pytest.mark.parametrize("image", ["vit", "vit-crop", "cnn"])
def test_the_whole_picture_as_a_region_has_the_pictures_embedding(image: str) -> None:
    clip = model(image)
    regions = clip.embed_regions(pictures(), torch.tensor([[[0.0, 0, 1, 1]]]).expand(2, 1, 4))
    torch.testing.assert_close(regions[:, 0], clip.embed("image", pictures()), rtol=1e-5, atol=1e-6)
    assert clip.training


def test_regions_of_larger_pictures() -> None:
    clip = model("vit")
    regions = clip.embed_regions(pictures(64, 64), BOXES, side=64)
    tower = clip.image_tower.eval()
    with torch.no_grad():
        maps = tower.patches(pictures(64, 64) / 255)
        assert maps.shape[2:] == (8, 8)
        expected = F.normalize(clip.project("image", pool_boxes(maps, BOXES).flatten(0, 1), "global"), dim=-1)
    torch.testing.assert_close(regions.flatten(0, 1), expected, rtol=1e-4, atol=1e-5)


def test_what_has_no_patches_or_not_of_this_side_is_refused() -> None:
    with pytest.raises(LookupError, match="no features of single places"):
        model("vit-map").embed_regions(pictures(), BOXES)
    with pytest.raises(ValueError, match="takes pictures of 32 pixels a side, and none of 20"):
        model("vit").embed_regions(pictures(), BOXES, side=20)
    with pytest.raises(LookupError, match="no features of single places"):
        pyramid(model("vit-map").image_tower)
    with pytest.raises(ValueError, match=r"scale 3 of a pyramid: there are 4, 2, 1, 0\.5"):
        pyramid(VisionTransformer(16, 8, 8, 1, 2), scales=(3,))


def test_every_level_of_a_pyramid_trains_the_tower() -> None:
    backbone = pyramid(VisionTransformer(16, 4, 8, 1, 2), channels=4)
    for name, level in backbone(torch.rand(2, 3, 16, 16)).items():
        assert level.shape == (2, 4, *[16 // 2 ** int(name)] * 2)
        weight = backbone.tower.patch_embedding.weight
        (slope,) = torch.autograd.grad(level.pow(3).sum(), [weight], retain_graph=True)
        assert slope.abs().sum() > 0
