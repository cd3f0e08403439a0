"""Trackers by name."""

from __future__ import annotations

from collections.abc import Sequence

from ...registry import Registry, require
from ._tracker import Tracker

TRACKERS = Registry("tracker", "counterpoint.training.trackers")
"""The trackers, a file each."""


def check(names: Sequence[str]) -> None:
    """Refuse trackers that are not there, before anything is trained.

    Raises:
        UnknownNameError: for a name that no tracker has.
        MissingPackageError: if a tracker's package is not installed.

    >>> TRACKERS.names()
    ('mlflow', 'parquet', 'tensorboard', 'wandb')
    >>> check(["parquet"])
    """
    for name in names:
        tracker: type[Tracker] = TRACKERS.get(name)
        for package in tracker.packages:
            require(package, "track")
