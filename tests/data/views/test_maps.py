"""Views of maps and boxes lie where those of their pictures do, as torchvision's transforms put masks and boxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from counterpoint.data.base import Data, Rows, Splits
from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.data.views import image, key
from counterpoint.data.views.maps import boxes as boxes_view
from counterpoint.data.views.maps import maps as maps_view
from counterpoint.data.views.pictures import ImageView
from counterpoint.frames import to_picture
from counterpoint.networks.towers.boxes import Corners
from counterpoint.networks.towers.maps import MapSquare
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.raw import UNKNOWN, Boxes, Maps
from counterpoint.recipes.schema import Augmentation
from counterpoint.types import Fit, View

N, HEIGHT, WIDTH, SIZE = 24, 60, 72, 32
PART, OWN = (key(0, 0, np.arange(N), name) for name in ("picture", "map"))
DRAWN = np.random.default_rng(0)
PICTURES = torch.from_numpy(DRAWN.integers(256, size=(N, 3, HEIGHT, WIDTH), dtype=np.uint8))
CLASSES = Maps(torch.from_numpy(DRAWN.integers(5, size=(N, HEIGHT, WIDTH), dtype=np.uint8)))
NUMBERS = Maps(torch.from_numpy(DRAWN.normal(size=(N, HEIGHT, WIDTH)).astype(np.float32)))
BOXES = Boxes(torch.from_numpy(np.sort(DRAWN.random((N, 6, 2, 2)), 2).reshape(N, 6, 4).astype(np.float32)))
INPUT = MapSquare(SIZE, classes=tuple("abcde"))
FOLLOWED = PICTURES, Square(SIZE)


def seen(look: Any, raw: Maps | Boxes, of: Any) -> Tensor:
    """What a view of maps or boxes shows that is like a view of pictures."""
    given = Corners() if isinstance(raw, Boxes) else INPUT
    return look.within(of)(raw, OWN, given, part=PART, followed=FOLLOWED)


def steps(view: ImageView, values: Any, interpolation: InterpolationMode) -> Iterator[Any]:
    """What torchvision makes of masks or boxes by the parameters that the view of pictures drew."""
    draw = view.draw(PART, HEIGHT, WIDTH, SIZE)
    for row, value in enumerate(values):
        result = F.resized_crop(value, *draw.box[row].tolist(), [SIZE, SIZE], interpolation, antialias=False)
        yield F.horizontal_flip(result) if draw.flip[row] else result


@pytest.mark.parametrize("name", ["plain", "simclr", "swav_small"])
def test_maps_are_cropped_and_mirrored_as_torchvision_does_with_masks(name: str) -> None:
    view = image(name)
    assert isinstance(view, ImageView)
    look = maps_view("plain")
    # Nearest by the middles of pixels: torchvision's "nearest" takes a pixel's upper left corner for its middle.
    masks = steps(view, CLASSES.pixels[:, None], InterpolationMode.NEAREST_EXACT)
    assert torch.equal(seen(look, CLASSES, view), torch.cat([*masks]))
    numbers = torch.cat([*steps(view, NUMBERS.pixels[:, None], InterpolationMode.BILINEAR)])
    torch.testing.assert_close(seen(look, NUMBERS, view), numbers, atol=1e-5, rtol=1e-5)


def in_pixels(boxes: Tensor) -> list[tv_tensors.BoundingBoxes]:
    scaled = boxes * torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    return [tv_tensors.BoundingBoxes(one, format="XYXY", canvas_size=(HEIGHT, WIDTH)) for one in scaled]


def area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


@pytest.mark.parametrize("name", ["plain", "simclr", "convirt"])
def test_boxes_are_those_of_torchvision_while_half_of_them_is_left(name: str) -> None:
    view = image(name)
    assert isinstance(view, ImageView)
    draw = view.draw(PART, HEIGHT, WIDTH, SIZE)
    expected, left = [], []
    for row, whole in enumerate(in_pixels(BOXES.corners)):
        top, before, height, width = draw.box[row].tolist()
        cut = F.crop(whole, top, before, height, width)
        square = F.resize(cut, [SIZE, SIZE])
        square = F.horizontal_flip(square) if draw.flip[row] else square
        share = area(cut) / area(whole)
        if view.rotate:
            turned = F.affine(square, draw.angle[row], draw.shift[row].tolist(), draw.zoom[row], [0.0, 0.0])
            square = F.clamp_bounding_boxes(turned, clamping_mode="hard")
        expected.append(square.as_subclass(Tensor) / SIZE)
        left.append(share.as_subclass(Tensor))
    result = seen(boxes_view("plain"), BOXES, view)
    there = ~result.isnan().any(-1)
    torch.testing.assert_close(result[there], torch.stack(expected)[there], atol=1e-4, rtol=0)
    half = torch.stack(left) >= 0.5
    assert torch.equal(there, half) if not view.rotate else not (there & ~half).any()
    assert there.float().mean() > 0.1


def test_a_rotated_map_is_torchvisions_but_for_borders_and_unknown_where_the_picture_is_black() -> None:
    view = image("convirt")
    assert isinstance(view, ImageView)
    draw = view.draw(PART, HEIGHT, WIDTH, SIZE)
    coarse = torch.from_numpy(DRAWN.integers(5, size=(N, 3, 3), dtype=np.uint8))
    raw = Maps(coarse.repeat_interleave(20, 1).repeat_interleave(24, 2))
    expected = [
        F.affine(it, draw.angle[k], draw.shift[k].tolist(), draw.zoom[k], [0.0, 0.0], fill=[UNKNOWN])
        for k, it in enumerate(steps(view, raw.pixels[:, None], InterpolationMode.NEAREST_EXACT))
    ]
    result = seen(maps_view("plain"), raw, view)
    agree = result == torch.cat(expected)
    assert agree.float().mean() > 0.93, "torchvision rounds twice, so that pixels beside a border may differ"
    white = torch.full_like(PICTURES, 255)
    shown = ImageView(crop=view.crop, mirror=0.5, rotate=20.0, translate=0.1, zoom=(0.95, 1.05))
    black = shown(white, PART, Square(SIZE))[:, 0] < 0.2
    assert black.any()
    assert (result[black] == UNKNOWN).all()
    assert (result[shown(white, PART, Square(SIZE))[:, 0] > 0.6] != UNKNOWN).all()


def test_numbers_beside_unknown_ones_are_of_those_that_are_known() -> None:
    pixels = torch.tensor([[[1.0, torch.nan, 5.0, 5.0]]]).expand(1, 4, 4)
    result = MapSquare(8)(Maps(pixels))[0, 0]
    assert result[:2].tolist() == [1.0, 1.0]
    assert result[2:4].isnan().all()
    assert result[4:].tolist() == [5.0] * 4
    classes = torch.tensor([[[1, UNKNOWN], [1, UNKNOWN]]], dtype=torch.uint8)
    assert MapSquare(4, classes=("a", "b"))(Maps(classes))[0, 0].tolist() == [1, 1, UNKNOWN, UNKNOWN]


@pytest.mark.parametrize("resize", ["shortest", "longest", "squash"])
def test_a_fit_resizes_maps_as_pictures(resize: Any) -> None:
    """Of a photograph of 4:3, of which a tower cuts the middle out or which it pads."""
    way = Fit(24, 24 if resize == "longest" else 30, resize, fill=(255, 255, 255))
    coarse = torch.from_numpy(DRAWN.integers(5, size=(N, 3, 3), dtype=np.uint8))
    raw = Maps(coarse.repeat_interleave(20, 1).repeat_interleave(32, 2))
    picture = Square(24, way)((raw.pixels * 40)[:, None].expand(-1, 3, -1, -1))[:, 0] * 255
    made = MapSquare(24, way, tuple("abcde"))(raw)
    assert ((made == UNKNOWN) == (picture > 254)).all()
    far = (picture - made * 40.0).abs()[made != UNKNOWN]
    assert (far < 4).float().mean() > 0.6, "but for pixels beside a border, which a picture blurs"


class Coloured(Data):
    """Pictures whose pixels say their class, and maps of it."""

    columns = {"image": "image", "map": "map", "boxes": "boxes"}  # noqa: RUF012 # as a user writes it
    name = "coloured"

    def __init__(self, cut: int = 0) -> None:
        self.ids, self.cut = np.arange(N), cut
        self.splits = Splits(self.ids, {}, {})
        coarse = np.random.default_rng(1).integers(3, size=(N, 5, 6), dtype=np.uint8)
        self.values = torch.from_numpy(coarse).repeat_interleave(12, 1).repeat_interleave(12, 2)

    def read(self, column: str, rows: Rows) -> Any:
        if column == "image":
            return (self.values[rows] * 100)[:, None].expand(-1, 3, -1, -1)
        if column == "boxes":
            return Boxes(torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]).expand(len(rows), 1, 4))
        return Maps(self.values[rows][:, self.cut :], ("a", "b", "c"))


def loader(data: Data, name: str) -> Loader:
    views = {
        "seen": View("image", name, column="image", framed=True),
        "where": View("map", like="seen"),
        "around": View("boxes", like="seen"),
    }
    inputs = {"image": Square(SIZE), "map": MapSquare(SIZE, classes=("a", "b", "c")), "boxes": Corners()}
    order = ShuffledOrder(data.splits.train, 16, 0)
    return Loader(data, order, views, augmentation=Augmentation(), inputs=inputs)


@pytest.mark.parametrize("name", ["plain", "weak", "crop+mirror", "byol_1", "weak_or_strong"])
def test_a_batch_holds_maps_of_what_its_pictures_show(name: str) -> None:
    data = Coloured()
    batch = loader(data, name).batch(0)
    picture, classes = batch["seen"][:, 0] * 255 / 100, batch["where"].float()
    if name in ("plain", "weak", "crop+mirror"):  # which leave colours as they are
        assert ((picture - classes).abs() < 0.1).float().mean() > 0.5
    middles = (torch.arange(SIZE) + 0.5) / SIZE
    across, down = torch.meshgrid(middles, middles, indexing="xy")
    points = to_picture(batch.frames["seen"], torch.stack([across, down], -1).expand(16, SIZE, SIZE, 2))
    x, y = (points * torch.tensor([WIDTH, HEIGHT]) + 1e-4).long().unbind(-1)
    assert torch.equal(data.values[batch.ids[:, None, None], y, x], batch["where"])


def test_a_map_of_another_size_than_its_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="a map of 72 × 50 pixels belongs to a picture of 72 × 60"):
        loader(Coloured(cut=10), "weak").batch(0)
