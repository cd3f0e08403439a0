"""The numbers of a run over time: Parquet always, TensorBoard where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from torch import nn

from ..files import read_table, writing
from ..pairwise import Loss

LEARNT = "learnt/"
"""Before the name of a scalar that the run learns; its value at step 0 is its start."""
BALANCED = "balanced/"
"""Before the name of a learnt scalar: where its gradient vanishes before anything is learnt."""
FILE = "metrics.parquet"
_SCHEMA = {"step": pl.Int64, "name": pl.String, "value": pl.Float64}


class MetricLog:
    """``metrics.parquet``, a row per step and number, written whole at every checkpoint.

    Args:
        folder: the run folder; without one the numbers are only kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.rows: list[tuple[int, str, float]] = []
        self._start = 0
        self._writer = None if folder is None else _summary_writer()
        # Opened with the first number: until then it is not known which step the run goes on from.
        self._board: Any = None

    def read(self, until: int) -> None:
        """Take up the numbers of an earlier part of the run, up to a step.

        Raises:
            Damaged: if they cannot be read.
        """
        self._start = until
        if self.folder is not None:
            frame = read_metrics(self.folder).filter(pl.col("step") <= until)
            self.rows = [(int(s), str(n), float(v)) for s, n, v in frame.select(list(_SCHEMA)).iter_rows()]

    def add(self, step: int, values: Mapping[str, float]) -> None:
        if self._board is None and self._writer is not None and self.folder is not None:
            # Steps after the one that a run goes on from are written again, so TensorBoard is told to forget them.
            forget = self._start + 1 if self._start else None
            self._board = self._writer(str(self.folder / "tensorboard"), purge_step=forget)
        for name, value in values.items():
            self.rows.append((step, name, float(value)))
            if self._board is not None:
                self._board.add_scalar(name, value, step)

    def frame(self) -> pl.DataFrame:
        return pl.DataFrame(self.rows, schema=_SCHEMA, orient="row")

    def write(self) -> None:
        if self.folder is not None:
            with writing(self.folder / FILE) as part:
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


def read_metrics(folder: Path) -> pl.DataFrame:
    """Return a run's numbers over time: ``step``, ``name``, ``value``.

    Raises:
        Damaged: if they are missing or cannot be read.
    """
    return read_table(
        folder / FILE, _SCHEMA, f"delete {folder} and run the same command again: it begins anew"
    )


def _summary_writer() -> Any:
    """Return the class that writes TensorBoard's files, or None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter
