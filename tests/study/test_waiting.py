"""Runs that wait for their data: a note says that other processes can prepare batches."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from counterpoint.study import summary


@dataclass
class Finished:
    """A run as far as the note looks at it."""

    seconds: float
    waiting: float
    folder: Path = Path("run")

    @property
    def state(self) -> Any:
        return SimpleNamespace(seconds=self.seconds, waiting_seconds=self.waiting)


@pytest.mark.parametrize(
    ("seconds", "waiting", "workers", "noted"),
    [
        (100.0, 48.0, 0, True),
        (100.0, 48.0, 2, False),
        (100.0, 5.0, 0, False),
        (4.0, 3.0, 0, False),
    ],
)
def test_a_run_that_waits_for_data_is_told_of_workers(
    seconds: float, waiting: float, workers: int, noted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = SimpleNamespace(recipe=SimpleNamespace(workers=workers))
    monkeypatch.setattr(summary.Run, "read", lambda folder: read)
    waits = inspect.unwrap(summary._waiting)  # without the checks of types, which a stand-in would not pass
    lines = list(waits([Finished(seconds, waiting)]))
    expected = ["48% of the training time went into waiting for data: --workers 1 or more prepares batches"]
    assert [line.removesuffix(" in other processes meanwhile") for line in lines] == expected * noted
