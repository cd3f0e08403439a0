"""The numbers of a run over time: their names, the file that has them all, and what a method says of itself."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from torch import nn

from ...files import read_table
from ...pairwise import Loss

LEARNT = "learnt/"
"""Before the name of a scalar that the run learns; its value at step 0 is its start."""
BALANCED = "balanced/"
"""Before the name of a learnt scalar: where its gradient vanishes before anything is learnt."""
FILE = "metrics.parquet"
SCHEMA = {"step": pl.Int64, "name": pl.String, "value": pl.Float64}


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
        DamagedFileError: if they are missing or cannot be read.
    """
    return read_table(
        folder / FILE, SCHEMA, f"delete {folder} and run the same command again: it begins anew"
    )
