"""Frames carry points and maps as the views carry pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from counterpoint.data.base import Rows
from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.data.views import key
from counterpoint.data.views.pictures import EitherView, ImageView
from counterpoint.frames import Frames, cell_distances, inverse, of_boxes, to_picture, to_view, whole
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.recipes import Augmentation
from counterpoint.types import Batch, View
from fixtures.tiny import TinyData

KEYS = key(0, 0, np.arange(16), "image")
TURNED = ImageView(crop=(0.4, 0.9), mirror=0.5, rotate=25.0, translate=0.1, zoom=(0.8, 1.25))
SIDE = 96


def spots(places: Tensor, height: int = SIDE, width: int = SIDE) -> Tensor:
    """Return pictures that are dark but for a soft spot each, at (x, y) in shares of the sides."""
    down, right = (torch.arange(n) + 0.5 for n in (height, width))
    x, y = (places * torch.tensor([width, height])).unbind(1)
    near = (down[None, :, None] - y[:, None, None]) ** 2 + (right[None, None] - x[:, None, None]) ** 2
    return (255 * torch.exp(-near / 18)).to(torch.uint8)[:, None].expand(-1, 3, -1, -1)


def centre(pictures: Tensor) -> Tensor:
    """Return the centre of brightness of each picture, in shares of its sides."""
    light = pictures.mean(1)
    h, w = light.shape[1:]
    down, right = (torch.arange(n) / n + 0.5 / n for n in (h, w))
    total = light.sum((1, 2))
    return torch.stack([(light * right).sum((1, 2)) / total, (light * down[:, None]).sum((1, 2)) / total], 1)


@pytest.mark.parametrize(
    "view", [ImageView(), ImageView(crop=(0.3, 0.9), mirror=0.5), TURNED, EitherView(ImageView(), TURNED)]
)
@pytest.mark.parametrize("shape", [(SIDE, SIDE), (80, 112)])
def test_a_spot_is_where_its_frame_says(view: ImageView | EitherView, shape: tuple[int, int]) -> None:
    places = 0.5 + 0.2 * (torch.rand(16, 2, generator=torch.Generator().manual_seed(0)) - 0.5)
    pictures = spots(places, *shape)
    frames = view.frames(pictures, KEYS, Square(64))
    found, inside = to_view(frames, places)
    # A spot at the edge is cut, and its centre of brightness another.
    whole = inside & ((found - 0.5).abs() < 0.3).all(1)
    assert whole.sum() > 8
    seen = centre(view(pictures, KEYS, Square(64)))
    torch.testing.assert_close(found[whole], seen[whole], atol=0.006, rtol=0)
    torch.testing.assert_close(to_picture(frames, found), places)


def cropped(it: Tensor, box: list[int], flip: bool) -> Tensor:
    """Return what torchvision makes of a box or a mask under a crop."""
    it = v2.functional.crop(it, *box)
    it = v2.functional.resize(it, [48, 48], interpolation=v2.InterpolationMode.NEAREST_EXACT)
    return v2.functional.horizontal_flip(it) if flip else it


def test_boxes_masks_go_where_torchvisions_do_under_same_crop() -> None:
    view = ImageView(crop=(0.3, 0.8), mirror=0.5)
    pictures = torch.randint(256, (16, 3, SIDE, SIDE), dtype=torch.uint8)
    draw, frames = view.draw(KEYS, SIDE, SIDE, 48), view.frames(pictures, KEYS, Square(48))
    box = tv_tensors.BoundingBoxes([[20.0, 30.0, 60.0, 80.0]], format="XYXY", canvas_size=(SIDE, SIDE))  # type: ignore[call-overload]
    mask = tv_tensors.Mask(torch.zeros(SIDE, SIDE, dtype=torch.uint8))
    mask[30:80, 20:60] = 1
    y, x = torch.meshgrid((torch.arange(48) + 0.5) / 48, (torch.arange(48) + 0.5) / 48, indexing="ij")
    for box_of_crop, flip, frame in zip(draw.box.tolist(), draw.flip.tolist(), frames, strict=True):
        corners, _ = to_view(frame[None], torch.tensor([[[20.0, 30.0], [60.0, 80.0]]]) / SIDE)
        xs, ys = corners[0].sort(0).values.clamp(0, 1).T * 48
        torch.testing.assert_close(
            torch.stack([xs[0], ys[0], xs[1], ys[1]]), cropped(box, box_of_crop, flip)[0].as_subclass(Tensor)
        )
        inside = to_picture(frame[None], torch.stack([x, y], -1)[None])[0] * SIDE
        looked_up = mask[inside[..., 1].long(), inside[..., 0].long()]
        assert looked_up.as_subclass(Tensor).equal(cropped(mask, box_of_crop, flip).as_subclass(Tensor))


def test_a_frame_of_a_box_and_its_inverse() -> None:
    frames = of_boxes(torch.tensor([[0.25, 0.5, 0.75, 1.0]] * 2), torch.tensor([False, True]))
    corner = torch.tensor([[0.0, 0.0]] * 2)
    assert to_picture(frames, corner).tolist() == [[0.25, 0.5], [0.75, 0.5]]
    assert to_picture(inverse(frames), to_picture(frames, corner)).tolist() == corner.tolist()
    _, inside = to_view(frames, torch.tensor([[[0.5, 0.75], [0.5, 0.25], [float("nan"), 0.75]]] * 2))
    assert inside.tolist() == [[True, False, False]] * 2
    with pytest.raises(ValueError, match="without area"):
        to_view(torch.zeros(1, 2, 3), torch.zeros(1, 2))


def test_distances_of_cells_agree_with_a_loop_over_boxes_of_mirrored_crops() -> None:
    """Positions of centres and diagonals as in the release of PixPro, which swaps the sides of a mirrored box."""
    boxes = torch.tensor([[0.1, 0.2, 0.7, 0.9], [0.0, 0.3, 0.5, 0.6]])
    mirrored = torch.tensor([True, False])
    grids = (3, 4), (2, 5)
    measured = cell_distances(of_boxes(boxes, mirrored), of_boxes(boxes.flip(0)), *grids)
    for b in range(2):
        x1, y1, x2, y2 = boxes[b].tolist()
        sides = [(x2, y1, x1, y2) if mirrored[b] else (x1, y1, x2, y2), boxes.flip(0)[b].tolist()]
        centres, diagonals = [], []
        for (left, top, right, bottom), (h, w) in zip(sides, grids, strict=True):
            bin_x, bin_y = (right - left) / w, (bottom - top) / h
            centres.append(
                [(left + (j + 0.5) * bin_x, top + (i + 0.5) * bin_y) for i in range(h) for j in range(w)]
            )
            diagonals.append((bin_x**2 + bin_y**2) ** 0.5)
        apart = [
            [np.hypot(p[0] - q[0], p[1] - q[1]) / max(diagonals) for q in centres[1]] for p in centres[0]
        ]
        np.testing.assert_allclose(measured[b], apart, rtol=1e-5)


def test_distances_of_cells_follow_a_turn() -> None:
    turned = torch.tensor([[[0.0, -1.0, 1.0], [1.0, 0.0, 0.0]]])  # right in the view is down in the picture
    distances = cell_distances(turned, whole(1), (2, 2), (2, 2))[0]
    assert (distances == 0).nonzero().tolist() == [[0, 1], [1, 3], [2, 0], [3, 2]]
    assert distances.max() == 1


def batches(views: dict[str, View], rank: int = 0, world: int = 1) -> Batch:
    loader = Loader(
        TinyData(),
        ShuffledOrder(TinyData().splits.train, 8, 0),
        views,
        augmentation=Augmentation(),
        inputs={"image": Square(16)},
        rank=rank,
        world=world,
    )
    return loader.batch(0)


def test_batch_holds_frames_are_asked_for_and_carries_them_along() -> None:
    views = {
        "a": View("image", "simclr", framed=True),
        "b": View("image", "weak"),
        "c": View("image", like="a", framed=True),
    }
    batch = batches(views)
    assert set(batch.frames) == {"a", "c"}
    assert batch.frames["a"].equal(batch.frames["c"]), "like another view: its crop, and its mirroring"
    assert len({tuple(f.flatten().tolist()) for f in batch.frames["a"]}) > 4
    parts = list(batch.to("cpu").split(3))
    assert torch.cat([part.frames["a"] for part in parts]).equal(batch.frames["a"])
    ranks = [batches(views, rank, 2) for rank in range(2)]
    assert torch.cat([part.frames["a"] for part in ranks]).equal(batch.frames["a"])
    assert batch["a"].equal(batches({"a": View("image", "simclr")})["a"]), "frames change nothing of the view"


def test_pictures_are_cut_once_for_all_views_of_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def cuts(self: TinyData, column: str, rows: Rows) -> Frames:
        calls.append(column)
        return whole(len(rows))

    monkeypatch.setattr(TinyData, "cuts", cuts)
    batch = batches({name: View("image", "simclr", framed=True) for name in "abc"})
    assert set(batch.frames) == {"a", "b", "c"}
    assert calls == ["image"]


def test_small_view_has_frame_of_a_large_one_of_the_same_crop() -> None:
    views = {
        "a": View("image", "simclr", framed=True),
        "b": View("image", "plain", like="a", size=0.5, framed=True),
    }
    batch = batches(views)
    assert (batch["a"].shape[-1], batch["b"].shape[-1]) == (16, 8)
    assert batch.frames["a"].equal(batch.frames["b"])


def test_sizes_and_frames_that_cannot_be_are_refused() -> None:
    for size in (0.0, -1.0, 1.5):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            View("image", size=size)
    with pytest.raises(ValueError, match="no pixel"):
        batches({"a": View("image", size=0.01)})
    for crop in ((0.0, 1.0), (0.5, 1.5), (0.8, 0.2)):
        with pytest.raises(ValueError, match="shares above 0"):
            ImageView(crop=crop)
    with pytest.raises(ValueError, match="'a' of text has no frame"):
        batches({"a": View("text", framed=True)})
