"""Orders: units as they are told to other processes, in what JSON can carry."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..registry import load
from .unit import PortableUnit, ResourceRequest, Unit


@dataclass(frozen=True)
class WorkItem:
    """A unit, told to another process.

    Attributes:
        unit: the unit's class, ``package.module:Class``.
        key: its name in messages.
        folder: its folder.
        given: what it says of itself.
        needs: what it needs.
    """

    unit: str
    key: str
    folder: str
    given: dict[str, Any]
    needs: ResourceRequest = field(default_factory=ResourceRequest)

    @classmethod
    def of(cls, unit: Unit[Any], base: Path | None = None) -> WorkItem:
        """Write the order that tells of a unit.

        Args:
            unit: what is to be done.
            base: a folder that the unit's is named from where it is in it, so that both can be moved.

        Raises:
            TypeError: if other processes cannot be told of the unit.
        """
        if not isinstance(unit, PortableUnit):
            raise TypeError(f"{unit.key} cannot be told to another process: carry it out one at a time")
        folder = unit.folder.absolute()
        inside = base is not None and folder.is_relative_to(base.absolute())
        return cls(
            f"{type(unit).__module__}:{type(unit).__qualname__}",
            unit.key,
            str(folder.relative_to(base.absolute()) if base is not None and inside else folder),
            unit.plain(),
            unit.needs,
        )

    def folder_in(self, base: Path) -> Path:
        """Return the unit's folder, of an order that was given with a base."""
        return base.absolute() / self.folder

    def check_below(self, base: Path) -> None:
        """Refuse an order whose folder is the base or is not below it, by its name or through a link.

        Raises:
            ValueError: naming the folder.
        """
        below = base.resolve() in self.folder_in(base).resolve().parents
        if Path(self.folder).is_absolute() or ".." in Path(self.folder).parts or not below:
            raise ValueError(
                f"{base}: the folder {self.folder!r} of the unit {self.key!r} is not below {base}"
            )

    def parse(self, base: Path = Path()) -> PortableUnit[Any]:
        """Make the unit."""
        return load(self.unit).parse(self.given, self.folder_in(base), self.needs)

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, plain: dict[str, Any]) -> WorkItem:
        return cls(**{**plain, "needs": ResourceRequest(**plain["needs"])})


@contextmanager
def given_in(folder: str) -> Iterator[None]:
    """Stand in the block where orders were given: relative names in them, of data or of a loss, count from there.

    No module is imported from there, as the folder may be anybody's: an empty entry of ``sys.path`` stands for where
    this process stood before.
    """
    if not folder or not Path(folder).is_dir():
        yield
        return
    before, sys.path[:] = [*sys.path], [entry or os.getcwd() for entry in sys.path]
    try:
        with chdir(folder):
            yield
    finally:
        sys.path[:] = before


def here() -> str:
    """Return the folder that orders are given in."""
    return os.getcwd()
