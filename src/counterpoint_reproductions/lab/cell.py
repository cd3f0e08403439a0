"""Cells: what a function of some settings measures, computed once and kept in a file; and who tells of them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np

from counterpoint import registry
from counterpoint.execution import OnProgress, ResourceRequest, Unit, UnitProgress
from counterpoint.files import writing

from .grid import Arrays

Function = Callable[..., Arrays]
"""Function of a module, from settings to the arrays of one cell."""
Notify = Callable[[str], None]


@final
@dataclass(frozen=True)
class ExperimentCell:
    """A cell of an experiment as a unit of work: a function and its settings, whose arrays become a file.

    Attributes:
        compute: a function of a module.
        name: of the cell among those of the function.
        settings: what the function is called with; JSON can carry them.
        cells: the folder of all cells.
    """

    compute: Function
    name: str
    settings: Mapping[str, Any]
    cells: Path

    lighter: ClassVar[str] = "fewer --jobs need less memory"
    needs: ClassVar[ResourceRequest] = ResourceRequest()

    @property
    def key(self) -> str:
        return self.name

    @property
    def folder(self) -> Path:
        settings = json.dumps(self.settings, sort_keys=True).encode()
        digest = hashlib.blake2b(settings, digest_size=6).hexdigest()
        return self.cells / f"{self.compute.__name__.strip('_')}-{self.name}-{digest}"

    @property
    def path(self) -> Path:
        return self.folder.parent / f"{self.folder.name}.npz"

    def read(self) -> Arrays | None:
        if not self.path.exists():
            return None
        with np.load(self.path) as stored:
            return dict(stored)

    def work(self, on_progress: OnProgress) -> Arrays:
        on_progress(UnitProgress(0, 1))
        began = time.perf_counter()
        arrays = self.compute(**self.settings)
        arrays["seconds"] = np.array(time.perf_counter() - began)
        with writing(self.path) as part, part.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type] # its stub takes allow_pickle for one of the arrays
        return arrays

    def outcome(self, result: Arrays) -> str:
        return f"done ({float(result['seconds']):.0f} s)"

    def plain(self) -> dict[str, Any]:
        compute = f"{self.compute.__module__}:{self.compute.__qualname__}"
        return {"compute": compute, "name": self.name, "settings": dict(self.settings)}

    @classmethod
    def parse(cls, plain: dict[str, Any], folder: Path, needs: ResourceRequest) -> ExperimentCell:
        return cls(registry.load(plain["compute"]), plain["name"], plain["settings"], folder.parent)


class CellListener:
    """Listener that says in words which cell is begun."""

    def __init__(self, notify: Notify, count: int) -> None:
        self.notify, self.count, self.begun = notify, count, 0

    def begin(self, title: str, units: Sequence[Unit[Any]]) -> None:
        return None

    def progressed(self, unit: Unit[Any], progress: UnitProgress) -> None:
        self.begun += 1
        self.notify(f"{unit.key} ({self.begun} of {self.count})")

    def ended(self, unit: Unit[Any], result: Any) -> None:
        return None

    def waits(self, reason: str) -> None:
        self.notify(reason)
