"""Cropped positions: equal to resizing by torchvision, drawn in training alone, replayed with a microbatch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

from counterpoint.networks import initialise
from counterpoint.networks.towers.cropped_positions import CroppedPositionsTransformer, draw_boxes
from counterpoint.networks.towers.transformer import VisionTransformer

SIZES = {"size": 20, "patch": 4, "width": 8, "depth": 1, "heads": 2}


def tower() -> CroppedPositionsTransformer:
    built = CroppedPositionsTransformer(**SIZES)
    initialise(built, 0)
    return built


def test_positions_are_enlarged_before_they_are_cropped() -> None:
    crop = tower().double()
    boxes = torch.tensor([[0.0, 0, 1, 1], [0.5, 0.25, 0.75, 0.95], [0.1, 0.9, 0.9, 1.0]], dtype=torch.float64)
    grid = crop.position_embedding.weight.view(1, 5, 5, 8).permute(0, 3, 1, 2)
    enlarged = F.interpolate(grid, (64, 64), mode="bilinear")
    rois = torch.cat([torch.zeros(3, 1), boxes * 64], 1)
    expected = roi_align(enlarged, rois, (3, 4), sampling_ratio=1, aligned=True)
    torch.testing.assert_close(crop.positions_in(boxes, 3, 4).mT.unflatten(2, (3, 4)), expected)


def test_evaluation_uses_the_whole_grid() -> None:
    plain, crop = VisionTransformer(**SIZES).eval(), tower().eval()
    initialise(plain, 0)
    for side in (20, 40):
        pictures = torch.rand(2, 3, side, side)
        assert torch.equal(plain(pictures), crop(pictures))


def test_each_training_picture_has_a_box_of_its_own_and_keeps_its_pixels() -> None:
    crop, picture = tower().train(), torch.rand(1, 3, 20, 20).expand(3, -1, -1, -1)
    torch.manual_seed(0)
    first = crop(picture)
    assert not torch.allclose(first[0], first[1])
    torch.manual_seed(0)
    assert torch.equal(crop(picture), first)
    with torch.no_grad():
        crop.position_embedding.weight.zero_()  # without positions boxes change nothing
    torch.testing.assert_close(crop(picture), crop.eval()(picture))


def test_boxes_are_those_of_random_resized_crops() -> None:
    left, top, right, bottom = draw_boxes(4000, torch.device("cpu")).T
    width, height = right - left, bottom - top
    assert ((width * height > 0.09) & (width * height <= 1)).all()
    assert ((width / height > 0.49) & (width / height < 2.01)).all()
    # Of sides below 1 the ratio is as drawn: its logarithm has mean 0 and a deviation of 0.4.
    assert abs((width / height).log().mean()) < 4 * 0.4 / 4000**0.5


def test_all_patches_visible_are_the_whole_picture() -> None:
    crop, pictures = tower().train(), torch.rand(3, 3, 20, 20)
    torch.manual_seed(0)
    whole = crop(pictures)
    torch.manual_seed(0)
    torch.testing.assert_close(crop.encode_visible(pictures, torch.arange(25).expand(3, -1)).summary, whole)
