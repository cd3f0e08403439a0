"""Pictures, masks and boxes against a drawing made pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from counterpoint.data.corruptions import blur
from counterpoint.data.pictures.rendering import ARTISTS
from counterpoint.data.synthetic.scenes.concepts import CONCEPTS
from counterpoint.data.synthetic.scenes.config import SceneConfig
from counterpoint.data.synthetic.scenes.layout.compose import compose
from counterpoint.data.synthetic.scenes.pixels.backgrounds import BACKGROUNDS, background
from counterpoint.data.synthetic.scenes.pixels.render import draw
from counterpoint.data.synthetic.scenes.pixels.sprites import DYES, RESOLUTION, box_of, dye, stamp
from counterpoint.data.synthetic.scenes.scene import COLOURS, Scene, Thing
from counterpoint.registry import UnknownNameError

SCENES = [
    compose(
        SceneConfig(
            objects="2-4",
            relations=1,
            relation_kinds="inside+behind+above",
            clutter="0-2",
            backgrounds="brick+meadow",
            artists="twemoji+openmoji",
            facings="left+right",
        ),
        3,
        index,
    )
    for index in range(12)
]


def full(thing: Thing, side: int) -> np.ndarray:
    """A thing's square: colour times alpha, and alpha; scaled by Pillow from the sprite itself."""
    sprite = ARTISTS[thing.artist].sprites([c.codepoints for c in CONCEPTS.values()], RESOLUTION)
    image = np.array(sprite[list(CONCEPTS).index(thing.concept)])
    image = image if thing.colour is None else dye(image, thing.colour)
    if thing.facing == "right":
        image = np.ascontiguousarray(image[:, ::-1])
    scaled = Image.fromarray(image).convert("RGBa").resize((side, side), Image.Resampling.HAMMING)
    return np.frombuffer(scaled.tobytes(), np.uint8).reshape(side, side, 4).astype(int)


def brute(scene: Scene, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture and the masks, a pixel at a time, every thing laid over those before it."""
    picture = np.array(background(scene.background, size)).astype(int)
    owner = np.full((size, size), -1)
    for number, thing in enumerate(scene):
        side = round(thing.side * size / 1000)
        square = full(thing, side)
        left, top = (
            min(max(int(np.floor((middle - thing.side / 2) * size / 1000 + 0.5)), 0), size - side)
            for middle in (thing.x, thing.y)
        )
        for y in range(side):
            for x in range(side):
                *colour, alpha = square[y, x]
                for channel in range(3):
                    below = picture[channel, top + y, left + x]
                    mixed = min(colour[channel], alpha) + int(below * (255 - alpha) / 255 + 0.5)
                    picture[channel, top + y, left + x] = mixed
                if alpha >= 128:
                    owner[top + y, left + x] = number
    masks = np.stack([owner == number for number in range(len(scene.things))])
    return picture.astype(np.uint8), masks


def test_pictures_masks_and_boxes_are_those_of_drawing_by_pixel() -> None:
    drawing = draw(SCENES, 64)
    for place, scene in enumerate(SCENES):
        picture, masks = brute(scene, 64)
        assert np.array_equal(drawing.pictures[place].numpy(), picture)
        assert np.array_equal(drawing.masks[place], masks)
        for mask, box in zip(masks, drawing.boxes[place].tolist(), strict=True):
            ys, xs = np.nonzero(mask)
            assert box == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_something_is_hidden_in_these_scenes() -> None:
    drawing = draw(SCENES, 64)
    alone = [draw([Scene(0, (thing,))], 64).masks[0][0].sum() for scene in SCENES for thing in scene]
    assert sum(int(mask.sum()) for masks in drawing.masks for mask in masks) < sum(alone)


def test_a_picture_does_not_depend_on_the_others() -> None:
    together = draw(SCENES, 48).pictures
    assert all(
        torch.equal(draw([scene], 48).pictures[0], together[place]) for place, scene in enumerate(SCENES)
    )
    assert draw([], 48).pictures.shape == (0, 3, 48, 48)


def test_an_empty_scene_is_its_background() -> None:
    drawing = draw([Scene(0, (), background="dotted")], 32)
    assert np.array_equal(drawing.pictures[0].numpy(), background("dotted", 32))
    assert drawing.masks[0].shape == (0, 32, 32)
    assert drawing.boxes[0].shape == (0, 4)


def test_a_corruption_changes_the_picture_and_nothing_else() -> None:
    scene = SCENES[0]
    worse = Scene(scene.index, scene.things, scene.relations, scene.background, "blur_2")
    clean, blurred = draw([scene, worse], 64).pictures, draw([worse, scene], 64)
    assert torch.equal(blurred.pictures[1], clean[0])
    assert torch.equal(blurred.pictures[0], blur(clean[:1], torch.tensor([scene.index]), 1)[0])
    assert np.array_equal(blurred.masks[0], blurred.masks[1])


def test_facing_right_is_the_mirror_image() -> None:
    left, right = (stamp("horse", 0, None, 40, facing) for facing in ("left", "right"))
    canvases = []
    for one in (left, right):
        canvas = np.zeros((40, 40), bool)
        height, width = one.drawn.shape
        canvas[one.top : one.top + height, one.left : one.left + width] = one.drawn
        canvases.append(canvas)
    assert (canvases[0] != canvases[1][:, ::-1]).mean() < 0.01
    assert (canvases[0] != canvases[1]).mean() > 0.05


@pytest.mark.parametrize("artist", [0, 1])
def test_a_dyed_thing_is_nearest_to_its_dye(artist: int) -> None:
    dyes = np.array([DYES[colour] for colour in COLOURS])
    sprites = ARTISTS[artist].sprites([c.codepoints for c in CONCEPTS.values()], RESOLUTION)
    shades = []
    for sprite in sprites[::5]:
        for place, colour in enumerate(COLOURS):
            dyed = dye(np.array(sprite), colour)
            luma = sprite[..., :3] @ np.array([77, 150, 29]) / 256
            body = (sprite[..., 3] >= 128) & (luma > 40)
            middle = dyed[body][:, :3].mean(0)
            assert np.linalg.norm(dyes - middle, axis=1).argmin() == place
            shades.append(dyed[body][:, :3].mean(1).std())
    assert np.median(shades) > 5  # shading is kept


def test_boxes_are_tight_and_zero_for_nothing() -> None:
    mask = np.zeros((5, 6), bool)
    assert box_of(mask) == (0, 0, 0, 0)
    mask[1, 2] = mask[3, 4] = True
    assert box_of(mask) == (2, 1, 5, 4)


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_backgrounds_are_pictures_of_their_own(name: str) -> None:
    picture = background(name, 48)
    assert picture.shape == (3, 48, 48)
    assert not picture.flags.writeable
    assert all(not np.array_equal(picture, background(other, 48)) for other in BACKGROUNDS if other != name)


def test_an_unknown_background() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'brick'"):
        background("bricks", 32)
