"""Units that a folder lists, so that any process that sees the folder can take some: ``units.json``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from .. import trust as trusting
from ..files import FORMAT, DamagedFileError, read_json, write_json
from ..registry import load
from ..units import STEPS, UNITS
from .executors.local import Local
from .orders import WorkItem, given_in, here
from .unit import Listener, NullListener, ResourceRequest, Unit

FILE = "units.json"
_REMEDY = "run the command that began the work again, which writes the file again"


class _Then(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    options: dict[str, Any]
    more: bool


class _Unit(BaseModel):
    model_config = ConfigDict(extra="forbid")
    unit: str
    key: str
    folder: str
    given: dict[str, Any]
    needs: ResourceRequest


class _File(BaseModel):
    """``units.json``."""

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    title: str
    given_in: str
    then: _Then
    units: list[_Unit]


@dataclass(frozen=True)
class FollowUp:
    """Step that comes when all units of a list are done.

    Attributes:
        name: one of `counterpoint.units.STEPS`, called with the folder and the options; empty for no step.
        options: what JSON can carry.
        more: the step lists further units in the folder, in place of those that are done.
    """

    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    more: bool = True


NOTHING = FollowUp(more=False)


@dataclass(frozen=True)
class WorkList:
    """Units that a folder lists.

    Attributes:
        title: of the work.
        orders: the units.
        then: what comes when all are done.
        given_in: the folder that relative names in the orders count from.
    """

    title: str
    orders: Sequence[WorkItem]
    then: FollowUp = NOTHING
    given_in: str = ""

    @classmethod
    def of(cls, title: str, units: Sequence[Unit[Any]], folder: Path, then: FollowUp = NOTHING) -> WorkList:
        """Return the list of some units.

        Raises:
            TypeError: for a unit that cannot be described to other processes, or whose class has no name in
                `counterpoint.units.UNITS`.
            ValueError: for a unit whose folder is not below the folder.
        """
        orders = [WorkItem.of(unit, folder) for unit in units]
        for order in orders:
            _name(order.unit)
            order.check_below(folder)
        return cls(title, orders, then, here())

    @classmethod
    def read(cls, folder: Path) -> WorkList:
        """Read what a folder lists.

        Raises:
            ValueError: if it lists nothing, or a unit whose folder is not below the folder.
            DamagedFileError: if ``units.json`` cannot be read, or names a unit or a step that is not in
                `counterpoint.units`.
        """
        path = folder / FILE
        if not path.exists():
            seen = "lists no units of work" if folder.is_dir() else "is not to be seen from here"
            raise ValueError(
                f"{folder} {seen}: give the folder of a study, or of vectors, an index or a report on data that are "
                "being made, on a disk that this machine shares with the one where the work began"
            )
        file = read_json(path, _File, _REMEDY)
        for kind, name, known in (
            *(("unit", unit.unit, UNITS) for unit in file.units),
            *([("step", file.then.name, STEPS)] if file.then.name else []),
        ):
            if name not in known:
                raise DamagedFileError(path, f"there is no {kind} of work {name!r}", _REMEDY)
        orders = [
            WorkItem(UNITS[unit.unit], unit.key, unit.folder, unit.given, unit.needs) for unit in file.units
        ]
        for order in orders:
            order.check_below(folder)
        return cls(file.title, orders, FollowUp(**file.then.model_dump()), file.given_in)

    def write(self, folder: Path) -> None:
        """Let a folder list these units, in place of those that it listed before."""
        units = [{**order.plain(), "unit": _name(order.unit)} for order in self.orders]
        file = {"title": self.title, "given_in": self.given_in, "then": asdict(self.then), "units": units}
        write_json(folder / FILE, _File.model_validate(file).model_dump())


def _name(reference: str) -> str:
    """Return the name of a unit's class.

    Raises:
        TypeError: if it has none.
    """
    for name, known in UNITS.items():
        if known == reference:
            return name
    raise TypeError(f"{reference} has no name in counterpoint.units: no folder can list such units")


def work(
    folder: str | os.PathLike[str],
    *,
    wait: bool = True,
    listener: Listener | None = None,
    trust: bool = False,
) -> None:
    """Take the next unfinished unit that a folder lists, one after another, until none is left.

    Any number of processes may do so, on any machine that sees the folder. A unit that a killed, removed or hanging
    process had in hand is taken up from where it was last saved. The last to end also ends the work: of a study, it
    writes the report.

    Args:
        folder: of a study, or of vectors, an index or a report on data that are being made.
        wait: wait for units in other hands, take up what is given up there, and end the work; otherwise return when
            there is no unit left to take.
        listener: told of every event.
        trust: import the Python files that the folder names (see `counterpoint.trust`).

    Raises:
        ValueError: if the folder lists nothing, or a unit whose folder is not below it.
        UntrustedError: for a Python file that the folder names and the user did not allow.
        Stopped: after the unit in hand has come to where it can go on.
    """
    base, listener = Path(folder).absolute(), listener or NullListener()
    while True:
        listed = WorkList.read(base)
        with given_in(listed.given_in), trusting.everything(trust):
            units = [order.parse(base) for order in listed.orders]
            listener.begin(listed.title, units)
            results = Local(others="wait" if wait or listed.then.more else "leave").carry_out(units, listener)
            if len(results) < len(units):
                return
            if listed.then.name:
                load(STEPS[listed.then.name])(base, **listed.then.options)
        if not listed.then.more:
            return
