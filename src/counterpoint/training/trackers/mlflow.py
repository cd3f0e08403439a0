"""MLflow: the server or the store that ``MLFLOW_TRACKING_URI`` names, MLflow's own choice unless set."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, final

from ._tracker import Remote

_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""Settings of MLflow, unless the user has others: by its own a step could wait minutes for a server that is gone."""


@final
class MLflow(Remote):
    """Run of the experiment ``MLFLOW_EXPERIMENT_NAME``, ``counterpoint`` unless set, by Lightning's logger."""

    packages: ClassVar[tuple[str, ...]] = ("lightning", "mlflow")

    def opened(self, folder: Path, run: str | None) -> Any:
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        import mlflow
        from lightning.pytorch.loggers import MLFlowLogger

        return MLFlowLogger(
            os.environ.get("MLFLOW_EXPERIMENT_NAME", "counterpoint"),
            folder.as_posix(),
            os.environ.get("MLFLOW_TRACKING_URI") or mlflow.get_tracking_uri(),
            run_id=run,
        )

    def add(self, step: int, values: Mapping[str, float]) -> None:
        # Of other characters MLflow takes none.
        super().add(step, {re.sub(r"[^a-zA-Z0-9_/. -]+", "_", name): value for name, value in values.items()})
