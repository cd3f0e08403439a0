"""Runs of this package."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ..methods.tower_method import TowerMethod
from ..training.folder import is_checkpoint, is_run
from ..training.start import load
from ._kind import Kind


class Run(Kind):
    """A run's folder, whose newest checkpoint counts, or one of its checkpoints."""

    form: ClassVar[str] = "a run's folder, or one of its checkpoints"

    def holds(self, folder: Path) -> bool:
        return is_run(folder) or is_checkpoint(folder)

    def load(self, name: str) -> TowerMethod:
        return load(name)
