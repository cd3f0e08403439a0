"""Tasks that come in turn: their shares of a run, their rows, and resuming in the middle."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.data.loader import Loader
from counterpoint.data.stream import Stream
from counterpoint.data.worlds.emoji.world import Emoji
from counterpoint.networks.towers.pixels import Square
from counterpoint.recipes import Augmentation
from counterpoint.types import View
from fixtures.tiny import TinyData

DATA = TinyData()
TASKS = tuple(np.array_split(DATA.splits.train, 3))


def loader(rows: np.ndarray, batch_size: int = 4) -> Loader:
    return Loader(
        DATA,
        rows,
        {"image": View("image")},
        augmentation=Augmentation(),
        inputs={"image": Square(24)},
        batch_size=batch_size,
        seed=0,
    )


def stream() -> Stream:
    return Stream([loader(task) for task in TASKS])


def test_every_task_has_its_share_of_the_steps_and_its_own_rows() -> None:
    seen = list(stream().batches(0, 8))
    assert [clock.step for _, clock in seen] == list(range(8))
    assert [clock.steps for _, clock in seen] == [8] * 8
    assert [clock.ends_task for _, clock in seen] == [k in (1, 4) for k in range(8)]  # 2, 3 and 3 steps
    for step, (batch, _) in enumerate(seen):
        task = TASKS[0 if step < 2 else 1 if step < 5 else 2]
        assert set(batch.ids.tolist()) <= set(DATA.ids[task].tolist())


@pytest.mark.parametrize("start", [1, 2, 4, 7, 8])
def test_a_run_goes_on_in_the_middle_of_any_task(start: int) -> None:
    whole, rest = list(stream().batches(0, 8))[start:], list(stream().batches(start, 8))
    assert len(whole) == len(rest)
    for (a, before), (b, after) in zip(whole, rest, strict=True):
        assert before == after
        assert torch.equal(a.ids, b.ids)
        assert torch.equal(a["image"], b["image"])


def test_one_task_is_its_loader() -> None:
    one = Stream([loader(TASKS[0])])
    for (a, clock), (b, plain) in zip(one.batches(0, 5), loader(TASKS[0]).batches(0, 5), strict=True):
        assert clock == plain
        assert torch.equal(a.ids, b.ids)
    assert torch.equal(one.batch(3).ids, loader(TASKS[0]).batch(3).ids)


def test_batches_of_different_sizes_and_no_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"batches of one size, got \[4, 3\]; make batch_size at most 3"):
        Stream([loader(TASKS[0]), loader(TASKS[1][:3])])
    with pytest.raises(ValueError, match="batches of one size"):
        Stream([])


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
