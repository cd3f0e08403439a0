"""The task of drawings: what is compared with what, where words attend, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from counterpoint.data.source import load_any
from counterpoint.evaluation import create
from counterpoint.evaluation.tasks.drawn import COLOURS, colour_of
from counterpoint.testing._task import RandomPainter, SamplePairs

DATA = load_any("scenes:subjects,train=4,validation=2,test=6")
ROWS = DATA.splits.test["as trained"]


class Knowing(RandomPainter):
    """A painter that draws training pictures of one word, and attends to one class of the map."""

    words = ("<rabbit>", "<bus>")

    def __init__(self, draws: int, attends: Sequence[int]) -> None:
        self.draws, self.attends = draws, attends

    def draw(self, texts: Sequence[str], *, seeds: Sequence[int] | None = None, **_: object) -> Tensor:
        row = DATA.splits.train[:1]
        picture, classes = DATA.read("image", row)[0] / 255, DATA.read("classes", row).pixels[0]
        alone = torch.where(classes == self.draws, picture, torch.ones(3, 1, 1))
        return alone.expand(len(texts), 3, -1, -1)

    def attention_of_words(self, pictures: Tensor) -> Tensor:
        maps = DATA.read("classes", ROWS).pixels
        return torch.stack([maps == number for number in self.attends], 1).float()


def test_attention_inside_the_own_class_does_not_leak_and_covers_it() -> None:
    task = create("drawn,pictures=0")
    right, swapped = (task(Knowing(1, attends), DATA, ROWS) for attends in ((1, 2), (2, 1)))
    assert [right.value(name) for name in ("leak", "inside", "overlap")] == [0, 1, 1]
    assert [swapped.value(name) for name in ("leak", "inside", "overlap")] == [1, 0, 0]
    assert task.main_metrics(DATA) == ("leak",)


def test_drawings_are_closest_to_the_word_that_they_show() -> None:
    task = create("drawn,pictures=1,prompts=a {}")
    by_word = {}
    for number in (1, 2):
        examples = task(Knowing(number, (1, 2)), DATA, ROWS).examples.filter(pl.col("example") < 0)
        by_word[number] = examples.select("subject", "companion", "similarity").to_numpy()
    assert by_word[1][:, :2].tolist() == [[1, 0], [0, 1]]
    assert by_word[2][:, :2].tolist() == [[0, 1], [1, 0]]
    assert by_word[1][0, 2] > by_word[2][0, 2]


def test_colours_are_told_by_hue() -> None:
    from PIL import ImageColor

    for name in COLOURS:
        dark = torch.tensor(ImageColor.getrgb(name))[:, None, None] / 510
        white = torch.ones(3, 4, 4)
        assert colour_of(torch.cat([white, (dark + 0.3).expand(3, 4, 4)], 2)) == name


def test_without_maps_drawings_are_compared_with_whole_pictures() -> None:
    data, task = SamplePairs(), create("drawn,pictures=1")
    scores = task(RandomPainter(), data, data.splits.test["some"])
    assert set(scores.metrics) == {"similarity", "rest"}
    assert task.main_metrics(data) == ("similarity",)
    with pytest.raises(ValueError, match="has no map"):
        create("drawn,pictures=0")(RandomPainter(), data, data.splits.test["some"])
    with pytest.raises(ValueError, match="in the place of the word"):
        create("drawn", prompts=("a cat",))


def test_attention_of_a_row_is_the_same_beside_others() -> None:
    task = create("drawn,pictures=0")
    of_all = task(RandomPainter(), DATA, ROWS).examples["leak"].to_numpy()
    of_one = task(RandomPainter(), DATA, ROWS[2:3]).examples["leak"].to_numpy()
    np.testing.assert_allclose(of_all[2:3], of_one)
