"""Runs that cannot be read: set aside, so that they are made again and the others are not."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..files import DamagedFileError, sweep
from .unit import StudyUnit


def set_aside_damaged(units: Iterable[StudyUnit[Any]]) -> None:
    """Set units aside whose files cannot be read; their folders are then free for the same units.

    Warns:
        UserWarning: for each unit that was set aside, with the place.
    """
    for unit in units:
        sweep(unit.folder)
        try:
            unit.check_files()
        except DamagedFileError as error:
            warnings.warn(
                f"{error.path} was damaged ({error.reason}): this run alone is repeated; its old folder is "
                f"{_set_aside(unit.folder)}",
                stacklevel=2,
            )


def is_damaged(unit: StudyUnit[Any]) -> bool:
    """Return whether a file of a unit cannot be read."""
    try:
        unit.check_files()
    except DamagedFileError:
        return True
    return False


def _set_aside(folder: Path) -> Path:
    names = (folder.with_name(f"damaged-{folder.name}-{n}") for n in range(1, 1000))
    aside = next(name for name in names if not name.exists())
    folder.rename(aside)
    return aside
