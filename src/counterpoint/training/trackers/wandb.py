"""Weights & Biases: its own service, one of one's own (``WANDB_BASE_URL``), or files (``WANDB_MODE=offline``)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, final
from uuid import uuid4

from ._tracker import Remote


@final
class WandB(Remote):
    """Run of the project ``WANDB_PROJECT``, ``counterpoint`` unless set, by Lightning's logger."""

    packages: ClassVar[tuple[str, ...]] = ("lightning", "wandb")

    def opened(self, folder: Path, run: str | None) -> Any:
        from lightning.pytorch.loggers import WandbLogger

        project = os.environ.get("WANDB_PROJECT", "counterpoint")
        logger = WandbLogger(
            folder.as_posix(), folder, run or uuid4().hex[:8], project=project, group=folder.parent.name
        )
        _ = logger.experiment  # opened now, so that what is wrong is told before the first step
        return logger

    def close(self, status: str) -> None:
        super().close(status)
        # Else the next run of this process would go on in this one.
        self.logger.experiment.finish(exit_code=1 if status == "failed" else 0)
