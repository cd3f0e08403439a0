"""TensorBoard: event files in the run folder's ``tensorboard``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, final

from ._tracker import Tracker


@final
class TensorBoard(Tracker):
    """Event files, by Lightning's logger: ``tensorboard --logdir runs`` shows all runs."""

    packages: ClassVar[tuple[str, ...]] = ("lightning", "tensorboard")

    def __init__(self, folder: Path, since: int) -> None:
        from lightning.pytorch.loggers import TensorBoardLogger

        there = (folder / "tensorboard").exists()
        self.sent = since if there and since else -1
        # Steps after the one that a run goes on from are written again, so TensorBoard is told to forget them.
        forget = since + 1 if self.sent >= 0 else None
        self.logger = TensorBoardLogger(folder, "tensorboard", "", default_hp_metric=False, purge_step=forget)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        self.logger.log_metrics(dict(values), step)

    def save(self) -> None:
        self.logger.experiment.flush()

    def close(self, status: str) -> None:
        self.logger.experiment.close()
