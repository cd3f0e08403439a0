"""The pace of a run is that of its steps, and not that of a pause."""

from __future__ import annotations

import pytest

from counterpoint.training.speed.pace import Pace, Stopwatch


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def step(watch: Stopwatch, clock: Clock, waits: float, works: float) -> Pace:
    watch.wait()
    clock.now += waits
    watch.go()
    clock.now += works
    return watch.step(left=100)


@pytest.mark.parametrize(("waits", "works"), [(2 * 3600.0, 0.3), (0.1, 2 * 3600.0)])
def test_a_pause_does_not_count(waits: float, works: float) -> None:
    clock = Clock()
    watch = Stopwatch(batch=8, clock=clock)
    before = [step(watch, clock, 0.1, 0.3) for _ in range(50)][-1]
    after = [step(watch, clock, waits, works), *(step(watch, clock, 0.1, 0.3) for _ in range(5))]
    assert before.left == pytest.approx(40.0)
    for pace in after:
        assert pace.left == pytest.approx(before.left, rel=0.01)
        assert pace.pairs == pytest.approx(before.pairs, rel=0.01)
        assert pace.waiting == pytest.approx(before.waiting, abs=0.05)


def test_a_pace_that_stays_slow_is_the_pace() -> None:
    clock = Clock()
    watch = Stopwatch(batch=8, clock=clock)
    for _ in range(50):
        step(watch, clock, 0.0, 0.3)
    paces = [step(watch, clock, 0.0, 60.0) for _ in range(3)]
    assert [round(pace.left) for pace in paces] == [30, 6000, 6000]


def test_steps_of_minutes_are_no_pauses() -> None:
    clock = Clock()
    watch = Stopwatch(batch=8, clock=clock)
    assert [round(step(watch, clock, 0.0, 60.0 + i).left) for i in range(3)] == [6000, 6100, 6200]
