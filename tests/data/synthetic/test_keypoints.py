"""The same points of a thing in two scenes: where they are, that they are seen, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.data.items import Correspondences
from counterpoint.data.synthetic.scenes.items.keypoints import LATTICE, SceneCorrespondences, located
from counterpoint.data.synthetic.scenes.pixels.render import draw
from counterpoint.data.synthetic.scenes.scene import Scene, Thing
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.diagnostics.internals.parts import pck, transfer


def of(source: str, rows: int = 60) -> SceneCorrespondences:
    world = Scenes.parse(source)
    found = world.items(Correspondences, world.splits.train[:rows])
    assert isinstance(found, SceneCorrespondences)
    return found


def test_points_move_and_grow_and_turn_with_the_thing() -> None:
    thing = Thing("cat", None, "large", 400, 300, 500)
    moved = Thing("cat", "red", "large", 400, 500, 600)
    np.testing.assert_allclose(located(moved) - located(thing), np.broadcast_to([0.2, 0.1], LATTICE.shape))
    half = Thing("cat", None, "small", 200, 300, 500)
    np.testing.assert_allclose(located(half) - [0.3, 0.5], (located(thing) - [0.3, 0.5]) / 2)
    turned = Thing("cat", None, "large", 400, 300, 500, facing="right")
    np.testing.assert_allclose(located(turned)[:, 0], 0.6 - located(thing)[:, 0])
    np.testing.assert_allclose(located(turned)[:, 1], located(thing)[:, 1])


@pytest.mark.parametrize("facing", ["left", "right"])
def test_drawn_pixels_agree_at_the_points(facing: str) -> None:
    one = Thing("dog", None, "large", 400, 300, 300)
    other = Thing("dog", None, "large", 400, 700, 650, facing=facing)  # type: ignore[arg-type]
    drawing = draw([Scene(0, (one,)), Scene(1, (other,))], 200)
    colours = []
    for k, thing in enumerate((one, other)):
        x, y = (located(thing) * 200).astype(int).T
        seen = drawing.masks[k][0][y, x]
        colours.append(np.where(seen, drawing.pictures[k].numpy()[:, y, x].astype(float), np.nan))
    there = np.isfinite(colours[0][0]) & np.isfinite(colours[1][0])
    assert there.sum() >= 9
    difference = np.abs(colours[0] - colours[1])[:, there]
    assert np.median(difference) < 8  # half a pixel off at most, so that edges differ and areas do not


def test_items_pairs_of_different_scenes_with_points_seen_in() -> None:
    items = of("scenes:basic,train=200,facings=left+right,pixels=64")
    assert len(items) > 20
    assert len(np.unique(items.ids)) == len(items)
    assert set(items.kinds) == {"same way", "mirrored"}
    pictures = items.pictures(np.arange(3))
    assert pictures.shape == (3, 2, 3, 64, 64)
    for (first, second), points in zip(items.pairs, items.points, strict=True):
        assert first.row < second.row
        assert (first.thing.concept, first.thing.artist) == (second.thing.concept, second.thing.artist)
        assert 1 <= len(points) <= len(LATTICE)
        for side, each in enumerate((first, second)):
            scene = items.world.scene(each.row)
            assert scene.counts()[each.thing.concept] == 1
            x, y = (points[:, side] * 64).astype(int).T
            assert draw([scene], 64).masks[0][each.thing_index][y, x].all()
    assert torch.equal(pictures[0, 1], items.world.draw(np.array([items.pairs[0][1].row])).pictures[0])


def test_features_that_know_thing_s_coordinates_find_every_point() -> None:
    items = of("scenes:basic,train=120,objects=1,clutter=0,pixels=48")
    found, true = [], []
    for (first, second), points in zip(items.pairs[:12], items.points[:12], strict=True):
        maps = []
        for each in (first, second):
            middles = (torch.arange(48) + 0.5) / 48
            left, top, _, _ = each.thing.box
            u = (middles - left / 1000) * 1000 / each.thing.side
            v = (middles - top / 1000) * 1000 / each.thing.side
            maps.append(torch.stack([*(u.expand(48, 48),), v[:, None].expand(48, 48)]).flatten(1))
        # Bumps around every place of the thing: as cosines, alike only to themselves.
        centres = torch.cartesian_prod(torch.linspace(0, 1, 12), torch.linspace(0, 1, 12)).T
        bumps = [(-((m[:, None] - centres[..., None]) ** 2).sum(0) / 0.005).exp() for m in maps]
        at = torch.from_numpy(points).float()
        found.append(transfer(bumps[0].unflatten(1, (48, 48)), at[:, 0], bumps[1].unflatten(1, (48, 48))))
        true.append(at[:, 1])
    assert pck(torch.cat(found), torch.cat(true), (0.05,))[0.05] > 0.95


def test_a_world_without_a_second_one_has_none() -> None:
    world = Scenes.parse("scenes:counts,train=20,objects=2-10")
    with pytest.raises(LookupError, match="correspondences"):
        world.items(Correspondences, world.splits.train)
