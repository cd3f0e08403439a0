"""The mathematics and the material of the claims about composed scenes."""

from __future__ import annotations

import numpy as np
import torch

from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.scene import Scene, Thing
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint_reproductions import mmvp
from counterpoint_reproductions.lab import data_counts as counts
from counterpoint_reproductions.lab.scene_towers import SceneTowers


def test_towers_tell_word_order_and_places_apart() -> None:
    towers = SceneTowers(["a red cat above a blue dog"], 0)
    said = towers.embed("text", ["a red cat above a blue dog", "a blue cat above a red dog"])
    assert not torch.allclose(said[0], said[1], atol=1e-4)
    picture = torch.full((1, 3, 64, 64), 255, dtype=torch.uint8)
    picture[:, :, :32, :32] = 0
    seen = towers.embed("image", torch.cat([picture, picture.flip(3)]))
    assert not torch.allclose(seen[0], seen[1], atol=1e-3)
    assert torch.allclose(seen.norm(dim=1), torch.ones(2))


def test_shrinking_changes_sizes_alone() -> None:
    things = tuple(Thing("cat", None, "small", 160, x, 500) for x in (200, 500))
    areas = set()
    for index in range(30):
        small = counts.shrunk(Scene(0, things), Rng(0, index))
        assert [(it.x, it.y) for it in small] == [(200, 500), (500, 500)]
        (side,) = {it.side for it in small}
        assert 96 <= side <= 160
        assert side % 2 == 0
        areas.add(side)
    assert len(areas) > 10


def test_counted_scenes_have_nine_captions_of_which_one_is_true() -> None:
    data = counts.counted(("cat", "dog", "key", "bus", "hat"), "train", 20)
    words = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    for own, plain in zip(data.captions, data.plain, strict=True):
        assert [text.split()[0] for text in own] == words
        assert {text.split(" ", 1)[1] for text in own} == {plain}
    assert data.numbers.min() >= 0
    assert data.numbers.max() <= 8
    assert not set(counts.SEEN) & set(counts.NEW)


def test_a_pair_is_right_if_both_statements_pick_their_picture() -> None:
    x = torch.eye(3)
    a, b = np.array([0, 0]), np.array([1, 2])
    y = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.9, 0.0, 0.1]])
    assert mmvp.chosen(x, y, a, b).tolist() == [True, False]
    assert mmvp.chosen(x, torch.ones(3, 3), a, b).tolist() == [False, False]


def test_pairs_are_of_one_name_with_different_statements() -> None:
    pictures = torch.zeros(4, 3, 1, 1, dtype=torch.uint8)
    test = mmvp.Pool(
        pictures, np.array(["cat", "cat", "dog", "cat"]), ["s", "t", "u", "s"], np.zeros((4, 2), np.int64)
    )
    a, b = mmvp.of_one_name(np.array([0, 0, 0]), np.array([1, 2, 3]), test)
    assert (a.tolist(), b.tolist()) == ([0], [1])


def test_statements_are_the_captions_that_say_looks() -> None:
    world = Scenes.parse(
        "scenes:tiny,objects=1,tinted=1,sizes=small+medium+large,train=6,validation=4,test=4"
    )
    data = mmvp.pool(world, world.splits.train)
    assert data.statements == [world.captions(int(row))[0] for row in world.splits.train]
    assert data.attributes.shape == (6, 2)
