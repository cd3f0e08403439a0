"""Runs of this package."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ..files import run_of
from ..methods import METHODS
from ..methods.tower_method import TowerMethod
from ..modalities import MODALITIES
from ..spec import Spec
from ..training import run
from ..training.folder import is_checkpoint, is_run
from ..training.start import load
from ._loader import ModelLoader


class RunLoader(ModelLoader):
    """A run's folder, whose newest checkpoint counts, or one of its checkpoints."""

    form: ClassVar[str] = "a run's folder, or one of its checkpoints"

    def holds(self, folder: Path) -> bool:
        return is_run(folder) or is_checkpoint(folder)

    def towers(self, name: str) -> str:
        # An arm stays readable when the run is gone, so that the method stands in it and is not read from the folder.
        arm = Spec.parse(run.Run.read(run_of(Path(name))).arm)
        begun = (*MODALITIES.names(), "tune", "from")
        options = {option: value for option, value in arm.options.items() if option not in begun}
        method = arm.name if arm.name in METHODS or ".py" in arm.name else "clip"
        raise ValueError(
            f"{name} is a run, which an arm goes on from: write {Spec(method, {**options, 'from': name})}"
        )

    def load(self, name: str) -> TowerMethod:
        return load(name)
