"""Maps and boxes of scenes, and the same scenes without them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from counterpoint.data import load
from counterpoint.data.synthetic.scenes.pixels.render import draw
from counterpoint.raw import Boxes, Maps
from counterpoint.registry import UnknownNameError

SIZES = "scenes:basic,train=30,validation=4,test=6"
PLAIN = load(SIZES)
WORLD = load(f"{SIZES},maps=classes+depth,boxes=true")
ROWS = np.arange(30)


def test_the_world_is_the_same_with_maps() -> None:
    assert WORLD.columns == {
        **PLAIN.columns,
        **{"classes": "map", "depth": "map", "boxes": "boxes"},
    }
    for column in PLAIN.columns:
        assert str(WORLD.read_training(column, ROWS)) == str(PLAIN.read_training(column, ROWS))
    assert torch.equal(WORLD.read("image", ROWS), PLAIN.read("image", ROWS))
    assert (WORLD.ids == PLAIN.ids).all()
    assert PLAIN.sized(96).read("image", ROWS[:2]).shape == WORLD.sized(96).read("image", ROWS[:2]).shape


def test_maps_and_boxes_say_what_is_drawn() -> None:
    classes, depth, boxes = (WORLD.read(column, ROWS) for column in ("classes", "depth", "boxes"))
    assert isinstance(classes, Maps)
    assert isinstance(boxes, Boxes)
    drawing = draw([WORLD.scene(row) for row in ROWS.tolist()], WORLD.pixels)
    for row in ROWS.tolist():
        scene, masks = WORLD.scene(row), drawing.masks[row]
        names = np.array(classes.classes)[classes.pixels[row].numpy()]
        assert (names[~masks.any(0)] == "background").all()
        assert (depth.pixels[row].numpy()[~masks.any(0)] == 1).all()
        for number, (thing, mask) in enumerate(zip(scene, masks, strict=True), 1):
            assert (names[mask] == thing.concept).all()
            behind = 1 - number / len(scene.things)
            assert np.allclose(depth.pixels[row].numpy()[mask], behind)
        seen = [box for box in drawing.boxes[row].tolist() if any(box)]
        around = boxes.corners[row][boxes.present[row]] * WORLD.pixels
        assert np.allclose(around.numpy(), seen, atol=1e-3)
    assert WORLD.sized(96).read("classes", ROWS[:1]).pixels.shape == (1, 128, 128)


def test_a_world_with_maps_is_read_in_another_process() -> None:
    again = pickle.loads(pickle.dumps(WORLD))
    assert torch.equal(again.read("classes", ROWS).pixels, WORLD.read("classes", ROWS).pixels)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (
            "scenes:basic,maps=clases",
            UnknownNameError,
            "unknown map of scenes 'clases': did you mean 'classes'",
        ),
        ("scenes:basic,boxes=yes", ValueError, "boxes is true or false, got 'yes'"),
        ("clips:basic,maps=classes", UnknownNameError, "unknown option of clips 'maps'"),
        ("emoji,maps=classes", ValueError, "emoji has no options"),
    ],
)
def test_maps_that_there_are_not(source: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load(source)
