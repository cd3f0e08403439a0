"""Units that a folder lists, so that any process that sees the folder can take some: ``units.json``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ..files import FORMAT, read_json, write_json
from ..registry import load
from .executors.local import Local
from .orders import Order, given_in, here
from .unit import Listener, NullListener, Unit

FILE = "units.json"
_REMEDY = "run the command that began the work again, which writes it anew"


class _Then(BaseModel):
    model_config = ConfigDict(extra="forbid")
    function: str
    options: dict[str, Any]
    more: bool


class _File(BaseModel):
    """``units.json``."""

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    title: str
    given_in: str
    then: _Then
    units: list[dict[str, Any]]


@dataclass(frozen=True)
class Then:
    """Step that comes when all units of a list are done.

    Attributes:
        function: ``package.module:function``, called with the folder and the options; empty where nothing comes.
        options: what JSON can carry.
        more: the function lists further units in the folder, in place of those that are done.
    """

    function: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    more: bool = True


NOTHING = Then(more=False)


@dataclass(frozen=True)
class Listed:
    """Units that a folder lists.

    Attributes:
        title: of the work.
        orders: the units.
        then: what comes when all are done.
        given_in: the folder that relative names in the orders count from.
    """

    title: str
    orders: Sequence[Order]
    then: Then = NOTHING
    given_in: str = ""

    @classmethod
    def of(cls, title: str, units: Sequence[Unit[Any]], folder: Path, then: Then = NOTHING) -> Listed:
        """Return the list of some units.

        Raises:
            TypeError: if other processes cannot be told of one of them.
        """
        orders = [Order.of(unit, folder) for unit in units]
        return cls(title, orders, then, here())

    @classmethod
    def read(cls, folder: Path) -> Listed:
        """Read what a folder lists.

        Raises:
            ValueError: if it lists nothing.
            Damaged: if ``units.json`` cannot be read.
        """
        path = folder / FILE
        if not path.exists():
            seen = "lists no units of work" if folder.is_dir() else "is not to be seen from here"
            raise ValueError(
                f"{folder} {seen}: give the folder of a study, or of vectors, an index or a report on data that are "
                "being made, on a disk that this machine shares with the one where the work began"
            )
        file = read_json(path, _File, _REMEDY)
        orders = [Order.read(plain) for plain in file.units]
        return cls(file.title, orders, Then(**file.then.model_dump()), file.given_in)

    def write(self, folder: Path) -> None:
        """Let a folder list these units, in place of those that it listed before."""
        plain = [order.plain() for order in self.orders]
        file = _File(
            title=self.title, given_in=self.given_in, then=_Then(**asdict(self.then)), units=plain
        ).model_dump()
        write_json(folder / FILE, file)


def work(folder: str | os.PathLike[str], *, wait: bool = True, listener: Listener | None = None) -> None:
    """Take the next unfinished unit that a folder lists, one after another, until none is left.

    Any number of processes may do so, on any machine that sees the folder. A unit that a killed, removed or hanging
    process had in hand is taken up from where it was last saved. The last to end also ends the work: of a study, it
    writes the report.

    Args:
        folder: of a study, or of vectors, an index or a report on data that are being made.
        wait: wait for units in other hands, take up what is given up there, and end the work; otherwise return when
            there is no unit left to take.
        listener: told of every event.

    Raises:
        ValueError: if the folder lists nothing.
        Stopped: after the unit in hand has come to where it can go on.
    """
    base, listener = Path(folder).absolute(), listener or NullListener()
    while True:
        listed = Listed.read(base)
        with given_in(listed.given_in):
            units = [order.parse(base) for order in listed.orders]
            listener.begin(listed.title, units)
            results = Local(others="wait" if wait or listed.then.more else "leave").carry_out(units, listener)
            if len(results) < len(units):
                return
            if listed.then.function:
                load(listed.then.function)(base, **listed.then.options)
        if not listed.then.more:
            return
