"""Units of a folder as they stand, read from the files in their folders, from any machine that sees them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .holder import Holder
from .lease import HEARTBEAT, last_beat
from .listed import FILE, WorkList
from .state import State
from .unit import UnitProgress

UNSEEN = 3 * HEARTBEAT
"""Seconds without a sign of life from which on a unit at work is said to be silent."""


@dataclass(frozen=True)
class UnitStatus:
    """A unit as it stands.

    Attributes:
        key: its name.
        folder: its folder.
        status: ``waiting`` for someone to take it, ``working``, ``silent`` (at work, without a sign of life), ``lost``
            (its process is gone, or silent for so long that another one may take it), ``stopped``, ``failed`` or
            ``done``.
        progress: how far it has come.
        words: how it ended.
        where: the machine and the process, of a unit that someone has or had in hand.
        at: the last sign of life, in seconds since 1970; None where there was none.
    """

    key: str
    folder: str
    status: str
    progress: UnitProgress
    words: str
    where: str
    at: float | None

    @property
    def ended(self) -> bool:
        return self.status in {"done", "failed"}


def standings(folder: str | os.PathLike[str], now: float) -> list[UnitStatus]:
    """Return how every unit that a folder lists stands; of a single run's folder, how the run does.

    Args:
        folder: of a study, of vectors that are being made, or of a run.
        now: the time, in seconds since 1970.

    Raises:
        ValueError: if the folder lists nothing, and nothing was done in it.
    """
    base = Path(folder)
    if not (base / FILE).exists() and (state := State.read(base)) is not None:
        return [_standing(base.name, base, now, state)]
    orders = WorkList.read(base).orders
    return [
        _standing(order.key, order.folder_in(base), now, State.read(order.folder_in(base)))
        for order in orders
    ]


def _standing(key: str, folder: Path, now: float, state: State | None) -> UnitStatus:
    beat = last_beat(folder)
    known: dict[str, Any] = {"key": key, "folder": str(folder)}
    if beat is None and state is None:
        return UnitStatus(**known, status="waiting", progress=UnitProgress(0), words="", where="", at=None)
    progress = UnitProgress(0) if state is None else state.progress
    if beat is not None:
        holder, age = beat
        status = "working" if age < UNSEEN else "silent"
        return UnitStatus(
            **known, status=status, progress=progress, words="", where=_where(holder), at=now - age
        )
    assert state is not None
    status = "lost" if state.status == "working" else state.status
    where = f"{state.host} ({state.process})"
    return UnitStatus(**known, status=status, progress=progress, words=state.words, where=where, at=state.at)


def _where(holder: Holder) -> str:
    return f"{holder.host} ({holder.process})"
