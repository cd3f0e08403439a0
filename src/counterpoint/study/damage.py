"""Runs that cannot be read: set aside, so that they are made again and the others are not."""

from __future__ import annotations

import warnings
from pathlib import Path

from ..files import Damaged, latest_checkpoint, sweep
from ..training.metrics import read_metrics
from ..training.run import Run, RunState
from .summary import FinishedRun


def mend(folder: Path, test: bool = True) -> None:
    """Set a run aside if a file of it cannot be read; its folder is then free for the same run.

    Args:
        folder: of a run, which may not have begun.
        test: the run is evaluated on test sets; trials of a search are not.

    Warns:
        UserWarning: if it was set aside, with the place.
    """
    sweep(folder)
    try:
        _check(folder, test)
    except Damaged as error:
        aside = next(
            place
            for n in range(1, 1000)
            if not (place := folder.with_name(f"damaged-{folder.name}-{n}")).exists()
        )
        folder.rename(aside)
        warnings.warn(
            f"{error.path} was damaged ({error.reason}): this run alone is repeated; its old folder is {aside}",
            stacklevel=2,
        )


def _check(folder: Path, test: bool) -> None:
    """Read all that a run has so far.

    Raises:
        Damaged: for a file that cannot be read.
    """
    state = RunState.read(folder)
    if state is None:
        return
    if state.status != "running" and test:
        FinishedRun.read(folder)
        return
    Run.read(folder)
    if latest_checkpoint(folder / "checkpoint") is not None:
        read_metrics(folder)
