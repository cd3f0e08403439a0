"""The numbers of a run over time: Parquet always, TensorBoard where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from torch import nn

from ..files import writing
from ..pairwise import Loss

LEARNT = "learnt/"
"""Before the name of a scalar that the run learns; its value at step 0 is its start."""
BALANCED = "balanced/"
"""Before the name of a learnt scalar: where its gradient vanishes before anything is learnt."""
_SCHEMA = {"step": pl.Int64, "name": pl.String, "value": pl.Float64}


class MetricLog:
    """``metrics.parquet``, a row per step and number, written whole at every checkpoint.

    Args:
        folder: the run folder; without one the numbers are only kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = folder / "metrics.parquet" if folder else None
        self.rows: list[tuple[int, str, float]] = []
        self._board: Any = None
        if folder is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            self._board = SummaryWriter(str(folder / "tensorboard"))

    def read(self, until: int) -> None:
        """Take up the numbers of an earlier part of the run, up to a step."""
        if self.path is not None and self.path.exists():
            frame = pl.read_parquet(self.path, glob=False).filter(pl.col("step") <= until)
            self.rows = [(int(s), str(n), float(v)) for s, n, v in frame.iter_rows()]

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.rows.append((step, name, float(value)))
            if self._board is not None:
                self._board.add_scalar(name, value, step)

    def frame(self) -> pl.DataFrame:
        return pl.DataFrame(self.rows, schema=_SCHEMA, orient="row")

    def write(self) -> None:
        if self.path is not None:
            with writing(self.path) as part:
                self.frame().write_parquet(part)
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        self.write()
        if self._board is not None:
            self._board.close()


def learnt_scalars(module: nn.Module) -> dict[str, float]:
    """Return the value of every scalar that is trained (a temperature, a bias), by ``learnt/`` and its name."""
    return {
        LEARNT + name: float(p.detach())
        for name, p in module.named_parameters()
        if p.requires_grad and not p.ndim
    }


def balanced_scalars(module: nn.Module, batch_size: int) -> dict[str, float]:
    """Return where the learnt scalars of all losses are balanced, by ``balanced/`` and their names."""
    return {
        f"{BALANCED}{path}.{name}": value
        for path, part in module.named_modules()
        if isinstance(part, Loss)
        for name, value in part.balanced(batch_size).items()
    }
