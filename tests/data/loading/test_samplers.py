"""Samplers: pure functions of seed and epoch, at the rates that they say, the same on any number of ranks."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import Order
from counterpoint.data.loading.sampled import SampledOrder, Streams
from counterpoint.data.loading.samplers import Sampler, members_of, occurrences, streams
from counterpoint.data.views import key
from counterpoint.methods.arm import Arm
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.recipes import Augmentation, Recipe
from counterpoint.registry import UnknownNameError
from counterpoint.training.run import Run
from counterpoint.training.start import order_of, prepare
from counterpoint.types import View
from fixtures.tiny import TinyData

DATA = TinyData()
WRITTEN = ("natural", "balanced", "reversed", "classes:2", "groups", "bound:1", "natural+reversed")


def order(written: str, classes: np.ndarray, batch: int, seed: int = 0) -> Order:
    """Return the order of rows 10, 11, … of some classes."""
    rows, by = 10 + np.arange(len(classes)), streams(written)
    if len(by) > 1:
        return Streams.of(rows, classes, by, batch, seed)
    return SampledOrder(rows, classes, by[0], batch, seed)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """Draw an order of some rows by any sampler; some rows have no class."""
    sizes = draw(st.lists(st.integers(2, 9), min_size=2, max_size=4))
    classes = np.repeat(np.arange(len(sizes)), sizes)
    classes = np.array(draw(st.permutations([*classes.tolist(), -1, -1])))
    try:
        return order(
            draw(st.sampled_from(WRITTEN)), classes, draw(st.integers(2, 8)), draw(st.integers(0, 9))
        )
    except ValueError:
        assume(False)
        raise


@given(orders(), st.integers(0, 60))
def test_the_parts_of_ranks_are_the_batch_of_one_process(made: Order, step: int) -> None:
    rows, epochs = made.at(step)
    said = made.labels(0, 1)
    for world in range(1, min(made.batch_size, 3) + 1):
        parts = [made.part(step, rank, world) for rank in range(world)]
        assert np.concatenate([part[0] for part in parts]).tolist() == rows.tolist()
        assert np.concatenate([part[1] for part in parts]).tolist() == np.asarray(epochs).tolist()
        for name, of_rows in said.items():
            of_ranks = [made.labels(rank, world)[name] for rank in range(world)]
            assert np.concatenate(of_ranks).tolist() == of_rows.tolist()


@given(orders(), st.integers(0, 60))
def test_run_goes_on_at_step_with_batch_that_it_would_have_had(made: Order, step: int) -> None:
    fresh = pickle.loads(pickle.dumps(made))
    for earlier in range(step):
        made.at(earlier)
    for a, b in zip(made.at(step), fresh.at(step), strict=True):
        assert np.asarray(a).tolist() == np.asarray(b).tolist()
    assert len(fresh.at(step)[0]) == made.batch_size


@given(orders())
def test_no_row_is_ever_seen_twice_in_the_same_way(made: Order) -> None:
    looks = Counter()
    for step in range(2 * made.steps_per_epoch):
        looks.update(zip(*(np.asarray(part).tolist() for part in made.at(step)), strict=True))
    assert set(looks.values()) == {1}


SIZES = np.array([40, 8, 2])
CLASSES = np.repeat(np.arange(3), SIZES)
RATES = {
    "natural": np.ones(3),
    "balanced": (1 / 3) / (SIZES / SIZES.sum()),
    "reversed": (1 / SIZES / (1 / SIZES).sum()) / (SIZES / SIZES.sum()),
    "classes:2": (1 / 3) / (SIZES / SIZES.sum()),
}


@pytest.mark.parametrize("written", RATES)
def test_every_row_comes_at_the_rate_that_its_sampler_says(written: str) -> None:
    made, epochs = order(written, CLASSES, 4), 400
    seen = np.zeros(10 + len(CLASSES))
    for step in range(epochs * made.steps_per_epoch):
        np.add.at(seen, made.at(step)[0], 1)
    whole = made.steps_per_epoch * made.batch_size / len(CLASSES)
    rate = seen[10:] / epochs / whole
    expected = RATES[written][CLASSES]
    # Epochs draw independently, a row a few times more or less in each: five standard errors of a Poisson count.
    assert np.abs(rate - expected).max() < 5 * np.sqrt(expected.max() / epochs)
    for number, members in enumerate(members_of(CLASSES)):
        assert rate[members].mean() == pytest.approx(RATES[written][number], rel=0.05)


@given(orders())
def test_rows_without_class_come_in_natural_beside_bound_rows(made: Order) -> None:
    if isinstance(made, Streams) or made.sampler.name in ("natural", "bound"):
        return
    without = made.rows(0, 1)[made._classes < 0]
    for step in range(made.steps_per_epoch):
        assert not set(without.tolist()) & set(made.at(step)[0].tolist())


def test_balanced_batches_have_every_class_in_its_share() -> None:
    made = order("balanced", CLASSES, 12)
    for step in range(40):
        counts = np.bincount(CLASSES[made.at(step)[0] - 10], minlength=3)
        assert np.abs(counts - 4).max() <= 1


def test_classes_make_whole_parts_without_row_twice_where_there() -> None:
    classes = np.repeat(np.arange(5), [7, 7, 3, 9, 2])
    made = order("classes:3", classes, 10)
    assert made.batch_size == 9
    for step in range(60):
        rows = made.at(step)[0] - 10
        assert sorted(Counter(classes[rows].tolist()).values()) == [3, 3, 3]
        again = [row for row, count in Counter(rows.tolist()).items() if count > 1]
        assert set(classes[again].tolist()) <= {4}


def test_groups_are_of_one_class_batch_and_rows_come_once_epoch() -> None:
    made = order("groups", np.repeat(np.arange(3), [9, 6, 3]), 4)
    assert made.steps_per_epoch == 3
    seen = []
    for step in range(3):
        rows = made.at(step)[0]
        assert len(set(np.repeat(np.arange(3), [9, 6, 3])[rows - 10].tolist())) == 1
        seen += rows.tolist()
    assert len(seen) == len(set(seen)) == 12


def test_bound_rows_are_the_same_ones_in_every_batch_of_a_run() -> None:
    made = order("bound:2", CLASSES, 10)
    together = set.intersection(*(set(made.at(step)[0].tolist()) for step in range(3 * made.steps_per_epoch)))
    assert Counter(CLASSES[[row - 10 for row in together]].tolist()) == {0: 2, 1: 2, 2: 2}
    others = [row for step in range(made.steps_per_epoch) for row in made.at(step)[0] if row not in together]
    assert len(others) == len(set(others)) == 44


def test_streams_share_a_batch_and_label_their_rows() -> None:
    made = order("natural+balanced+reversed", CLASSES, 6)
    loader = Loader(
        DATA,
        Streams.of(
            DATA.splits.train,
            DATA.labels["tone"].values[DATA.splits.train],
            streams("natural+reversed"),
            6,
            0,
        ),
        {"image": View("image", "weak")},
        augmentation=Augmentation(),
        inputs={"image": Square(24)},
    )
    assert made.labels(0, 1)["stream"].tolist() == [0, 1, 2, 0, 1, 2]
    batch = loader.batch(0)
    assert batch.labels["stream"].tolist() == [0, 1, 0, 1, 0, 1]
    assert set(batch.labels) == {*DATA.labels, "stream"}


@pytest.mark.parametrize("written", ["natural+natural", "balanced+balanced"])
def test_streams_of_one_sampler_draw_independently(written: str) -> None:
    made = order(written, CLASSES, 6)
    stream = made.labels(0, 1)["stream"]
    steps = [made.at(step)[0] for step in range(8)]
    assert any(sorted(rows[stream == 0]) != sorted(rows[stream == 1]) for rows in steps)
    drawn = [{int(row) for rows in steps for row in rows[stream == number]} for number in (0, 1)]
    assert drawn[0] != drawn[1]


def test_a_row_that_comes_twice_in_a_batch_is_seen_in_two_ways() -> None:
    rows = DATA.splits.train[[0, 1, 2, 3]]
    loader = Loader(
        DATA,
        SampledOrder(rows, np.array([0, 0, 0, 1]), Sampler("balanced"), 4, 0),
        {"image": View("image", "weak")},
        augmentation=Augmentation(),
        inputs={"image": Square(24)},
    )
    batch = loader.batch(0)
    twice = batch["image"][batch.ids == int(DATA.ids[rows[3]])]
    assert len(twice) == 2
    assert not torch.equal(twice[0], twice[1])


def test_keys_of_one_epoch_are_those_of_each_row_in_it() -> None:
    ids = np.array([4, -7, 9])
    assert key(3, 2, ids, "image").tolist() == key(3, np.array([2, 2, 2]), ids, "image").tolist()


@settings(max_examples=50)
@given(st.lists(st.integers(0, 5), max_size=30))
def test_occurrences_count_what_came_before(line: list[int]) -> None:
    expected = [line[:place].count(entry) for place, entry in enumerate(line)]
    assert occurrences(np.array(line, dtype=np.int64)).tolist() == expected


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("balanced:3", "counts no rows"),
        ("classes", "write classes:K"),
        ("classes:0", "write classes:K"),
        ("bound:x", "write bound:K"),
        ("ballanced", "balanced"),
        ("natural+", "natural"),
    ],
)
def test_sampler_that_is_none_is_refused_where_arm_is_written(written: str, says: str) -> None:
    with pytest.raises((ValueError, UnknownNameError), match=says):
        Arm.parse(f"supcon,on=images,sampler={written}")


@pytest.mark.parametrize(
    ("written", "classes", "says"),
    [
        ("classes:2", [0, 0, 0, 0, 1, 1, 1, 1], "needs 4 classes a batch, and there are 2"),
        (
            "classes:9",
            [0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
            "needs 9 rows of a class, more than a batch has, .* 9 at least",
        ),
        ("groups", [0, 0, 1, 1, 2, 2, 3, 3], "the largest has 2"),
        ("bound:4", [0, 0, 0, 0, 1, 1, 1, 1, 1], "binds 8 rows"),
        ("balanced", [-1] * 9, "no row to train on has one"),
    ],
)
def test_rows_that_make_no_batch_are_refused(written: str, classes: list[int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        order(written, np.array(classes), 8)


RECIPE = Recipe(batch_size=8, steps=2, towers={"image_size": 24})


def test_an_arm_names_the_sampler_of_a_method_that_learns_labels() -> None:
    _, loader = prepare(Run("supcon,on=images,labels=tone,sampler=balanced", "tiny", RECIPE), DATA)
    tones = torch.cat([loader.batch(step).labels["tone"] for step in range(8)])
    assert (tones >= 0).all()
    counts = torch.bincount(tones, minlength=4)
    assert counts.tolist() == [16] * 4
    assert loader.order.settings()["sampler"] == "balanced"


def test_a_method_that_learns_no_label_has_no_sampler() -> None:
    with pytest.raises(ValueError, match="ntxent learns from no label, and sampler=balanced"):
        prepare(Run("ntxent,on=images,sampler=balanced", "tiny", RECIPE), DATA)


def test_sampler_needs_label_of_data_and_rows_can_read_at_random() -> None:
    rows = DATA.splits.train
    with pytest.raises(UnknownNameError, match="tone"):
        order_of(DATA, 8, 0, rows, "balanced", "tome")
    sharded = TinyData()
    sharded.shards = [len(rows)]
    with pytest.raises(ValueError, match="shard by shard"):
        order_of(sharded, 8, 0, rows, "balanced", "tone")


def test_tags_come_evenly_or_by_rarity_and_other_samplers_refuse() -> None:
    tags = np.zeros((60, 3), dtype=np.int64)
    tags[:40, 0] = tags[30:50, 1] = tags[50:55, 2] = 1  # rows without a tag, of two tags, and a rare one
    line = Sampler("balanced").epoch(tags, 6, 0, 0).ravel()
    assert not set(range(55, 60)) & set(line.tolist())
    # A row of two tags comes for both.
    assert abs(np.isin(line, np.arange(50, 55)).sum() - 20) <= 1
    rare = np.isin(Sampler("reversed").epoch(tags, 6, 0, 0), np.arange(50, 55)).sum()
    assert abs(rare - 60 * (1 / 5) / (1 / 40 + 1 / 20 + 1 / 5)) <= 1
    assert sorted(Sampler("natural").epoch(tags, 6, 0, 0).ravel().tolist()) == [*range(60)]
    for sampler in (Sampler("classes", 2), Sampler("groups"), Sampler("bound", 1)):
        with pytest.raises(ValueError, match="take balanced or reversed"):
            sampler.epoch(tags, 6, 0, 0)
    order = Streams.of(np.arange(60), tags, (Sampler("natural"), Sampler("balanced")), 6, seed=0)
    assert order.settings()["streams"][1]["classes"] == [40, 20, 5]
