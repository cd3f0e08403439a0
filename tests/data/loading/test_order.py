"""Orders: every record once an epoch, the same global batches on any number of ranks, at a cost that does not grow."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.data.loading import order as orders
from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import Order, SequentialOrder, ShuffledOrder, WindowedOrder
from counterpoint.data.synthetic.emoji.world import Emoji
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.recipes import Augmentation
from counterpoint.types import View
from fixtures.tiny import TinyData

DATA = TinyData()
TASKS = tuple(np.array_split(DATA.splits.train, 3))


@st.composite
def windowed(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what an order of some small shards, empty ones among them, is made of."""
    shards = draw(
        st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(lambda counts: sum(counts) > 1)
    )
    batch = draw(st.integers(1, sum(shards)))
    return {
        "shards": shards,
        "batch_size": batch,
        "seed": draw(st.integers(0, 5)),
        "lanes": draw(st.integers(1, min(batch, 6))),
        "window": draw(st.integers(1, 60)),
    }


@given(windowed(), st.integers(0, 3))
def test_record_comes_once_epoch_but_for_last_incomplete_batch(made: dict[str, Any], epoch: int) -> None:
    order = WindowedOrder(**made)
    steps = order.steps_per_epoch
    seen = [order.at(epoch * steps + step) for step in range(steps)]
    rows = np.concatenate([turn[0] for turn in seen])
    assert {turn[1] for turn in seen} == {epoch}
    assert len(rows) == len(set(rows.tolist())) == steps * order.batch_size
    assert order.examples - len(rows) < order.batch_size
    assert rows.dtype == np.int64
    assert rows.min() >= 0
    assert rows.max() < order.examples


@given(windowed(), st.integers(0, 200))
def test_parts_of_ranks_are_global_batch_on_one_two_and_three(made: dict[str, Any], step: int) -> None:
    order = WindowedOrder(**made)
    whole, epoch = order.at(step)
    for world in (1, 2, 3):
        parts = [order.part(step, rank, world) for rank in range(min(world, order.batch_size))]
        if len(parts) == world:
            assert np.concatenate([part[0] for part in parts]).tolist() == whole.tolist()
            assert {part[1] for part in parts} == {epoch}


@given(windowed(), st.integers(0, 200))
def test_a_step_does_not_depend_on_what_was_asked_before(made: dict[str, Any], step: int) -> None:
    order = WindowedOrder(**made)
    fresh = pickle.loads(pickle.dumps(order))
    for earlier in (0, step + 1, step // 2):
        order.at(earlier)
    assert order.at(step)[0].tolist() == fresh.at(step)[0].tolist()


@given(windowed(), st.integers(0, 200), st.integers(1, 3))
def test_a_rank_reads_the_shards_that_its_lanes_are_in(made: dict[str, Any], step: int, world: int) -> None:
    order = WindowedOrder(**made)
    shard_of = np.repeat(np.arange(len(order.shards)), order.shards)
    for rank in range(min(world, order.batch_size)):
        rows, _ = order.part(step, rank, world)
        assert set(shard_of[rows].tolist()) <= set(order.shards_of(step, rank, world))


def test_ranks_with_lanes_of_own_share_no_shards_but_at_edges() -> None:
    order = WindowedOrder([10] * 40, batch_size=8, seed=0, lanes=4, window=20)
    for step in range(order.steps_per_epoch):
        first, second = (set(order.shards_of(step, rank, 2)) for rank in range(2))
        assert not first & second
        assert len(first) <= 2 * 2 * 2  # two lanes, two windows, two shards each


def test_batch_takes_share_of_lane_window_stays_within_itself() -> None:
    order = WindowedOrder([100] * 10, batch_size=10, seed=1, lanes=2, window=50)
    line = np.concatenate([100 * shard + np.arange(100) for shard in order._of(0)[0]])
    place = {int(row): position for position, row in enumerate(line)}
    for step in range(order.steps_per_epoch):
        places = [place[row] for row in order.at(step)[0].tolist()]
        window = step // 10  # of fifty records of a lane, five a step
        for lane, share in enumerate((places[:5], places[5:])):
            assert all(500 * lane + 50 * window <= p < 500 * lane + 50 * (window + 1) for p in share)
    assert [place[row] for row in order.at(0)[0].tolist()[:5]] != list(range(5))


def test_epochs_differ_in_shards_and_within_them() -> None:
    order = WindowedOrder([5] * 8, batch_size=10, seed=0, lanes=2, window=10)
    assert order._of(0)[0].tolist() != order._of(1)[0].tolist()
    assert set(order.at(0)[0].tolist()) != set(order.at(order.steps_per_epoch)[0].tolist())
    other = WindowedOrder([5] * 8, batch_size=10, seed=1, lanes=2, window=10)
    assert order.at(0)[0].tolist() != other.at(0)[0].tolist()


class Counted:
    """A generator of random numbers that says how long the permutations are that it draws."""

    drawn: list[int]

    def __init__(self, seed: Any) -> None:
        self.own = np.random.Generator(np.random.PCG64(seed))

    def permutation(self, count: int) -> np.ndarray:
        Counted.drawn.append(count)
        return self.own.permutation(count)


def test_the_work_for_a_step_is_the_same_anywhere_in_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders.np.random, "default_rng", Counted)

    def work(step: int) -> list[int]:
        order, Counted.drawn = WindowedOrder([1000] * 1000, 256, seed=0, window=512), []
        order.at(step)
        return Counted.drawn

    steps = 1_000_000 // 256
    assert work(0) == work(steps * 9 // 10) == work(7 * steps)
    assert sorted(work(0)) == [512] * 4 + [1000]


def held(order: Order) -> int:
    """Return the bytes that an order holds on to."""
    return len(pickle.dumps(order, protocol=5))


def test_memory_is_one_of_windows_and_shards_and_not_of_records() -> None:
    sizes = []
    for records in (10, 10_000, 10_000_000):
        order = WindowedOrder([records] * 100, 64, seed=0, lanes=4, window=64)
        for step in (0, 5, order.steps_per_epoch - 1, order.steps_per_epoch):
            order.at(step)
        sizes.append(held(order))
    assert max(sizes) - min(sizes) < 200  # numbers take more digits
    assert max(sizes) < 8 * (4 * 64 + 5 * 100) + 2000


def test_shuffled_is_one_permutation_an_epoch() -> None:
    rows = np.arange(100, 110)
    order = ShuffledOrder(rows, batch_size=4, seed=3)
    for epoch in range(3):
        drawn = rows[np.random.default_rng([3, epoch]).permutation(10)]
        assert order.at(2 * epoch)[0].tolist() == drawn[:4].tolist()
        assert order.at(2 * epoch + 1)[0].tolist() == drawn[4:8].tolist()
    assert order.part(1, 2, 3)[0].tolist() == order.at(1)[0][3:].tolist()


@pytest.mark.parametrize(("batch", "lanes"), [(1, 1), (64, 1), (127, 1), (256, 4), (32_768, 64)])
def test_lanes_follow_from_the_batch_alone(batch: int, lanes: int) -> None:
    assert WindowedOrder([100_000], batch, seed=0).lanes == lanes


def test_more_lanes_than_rows_in_a_batch_are_refused() -> None:
    with pytest.raises(
        ValueError, match="a batch of 4 cannot take a share of each of 8 lanes; make batch_size"
    ):
        WindowedOrder([100], 4, seed=0, lanes=8)


def test_batches_are_at_most_the_data() -> None:
    order = WindowedOrder([3, 0, 2], 64, seed=0)
    assert sorted(order.at(0)[0].tolist()) == [0, 1, 2, 3, 4]
    assert order.steps_per_epoch == 1


def test_orders_say_what_they_are_made_of() -> None:
    one = WindowedOrder([10, 10], 4, seed=2, lanes=2, window=6).settings()
    assert one == {
        "order": "windowed",
        **{"rows": 20, "shards": 2, "batch_size": 4, "seed": 2, "lanes": 2, "window": 6},
    }
    assert SequentialOrder([ShuffledOrder(np.arange(6), 4, 2)]).settings()["tasks"] == [
        {"order": "shuffled", "rows": 6, "batch_size": 4, "seed": 2}
    ]


def loader(*tasks: np.ndarray, batch_size: int = 4) -> Loader:
    """Return batches of tasks in turn."""
    return Loader(
        DATA,
        SequentialOrder([ShuffledOrder(task, batch_size, 0) for task in tasks]),
        {"image": View("image")},
        augmentation=Augmentation(),
        inputs={"image": Square(24)},
    )


def test_every_task_has_its_share_of_the_steps_and_its_own_rows() -> None:
    seen = list(loader(*TASKS).batches(0, 8))
    assert [clock.step for _, clock in seen] == list(range(8))
    assert [clock.steps for _, clock in seen] == [8] * 8
    assert [clock.ends_task for _, clock in seen] == [k in (1, 4) for k in range(8)]  # 2, 3 and 3 steps
    for step, (batch, _) in enumerate(seen):
        task = TASKS[0 if step < 2 else 1 if step < 5 else 2]
        assert set(batch.ids.tolist()) <= set(DATA.ids[task].tolist())


@pytest.mark.parametrize("start", [1, 2, 4, 7, 8])
def test_a_run_goes_on_in_the_middle_of_any_task(start: int) -> None:
    whole, rest = list(loader(*TASKS).batches(0, 8))[start:], list(loader(*TASKS).batches(start, 8))
    assert len(whole) == len(rest)
    for (a, before), (b, after) in zip(whole, rest, strict=True):
        assert before == after
        assert torch.equal(a.ids, b.ids)
        assert torch.equal(a["image"], b["image"])


def test_one_task_is_its_rows_shuffled() -> None:
    one, plain = SequentialOrder([ShuffledOrder(TASKS[0], 4, 0)]), ShuffledOrder(TASKS[0], 4, 0)
    for step in range(5):
        assert one.at(step, 5)[0].tolist() == one.at(step)[0].tolist() == plain.at(step)[0].tolist()
        assert one.clock(step, 5) == plain.clock(step, 5)


def test_fewer_steps_than_tasks_leave_some_tasks_out() -> None:
    order = SequentialOrder([ShuffledOrder(task, 4, 0) for task in TASKS])
    assert [order.clock(step, 2).ends_task for step in range(2)] == [True, False]
    assert set(order.at(0, 2)[0].tolist()) <= set(TASKS[1].tolist())


def test_batches_of_different_sizes_and_no_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"batches of one size, got \[4, 3\]; make batch_size at most 3"):
        loader(TASKS[0], TASKS[1][:3])
    with pytest.raises(ValueError, match="batches of one size"):
        SequentialOrder([])


def test_emoji_come_in_four_tasks_of_whole_groups() -> None:
    plain, tasks = Emoji().splits, Emoji("stream").splits
    assert np.array_equal(tasks.train, plain.train)
    assert np.array_equal(np.sort(np.concatenate(tasks.tasks)), plain.train)
    assert all(
        np.array_equal(tasks.test[name], rows)
        and np.array_equal(tasks.validation[name], plain.validation[name])
        for name, rows in plain.test.items()
    )
    groups = [set(Emoji().labels["group"].values[rows].tolist()) for rows in tasks.tasks]
    assert len(groups) == 4
    assert sum(map(len, groups)) == len(set.union(*groups)) == 9
    assert min(map(len, tasks.tasks)) > 256
