"""Losses by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry import Registry

if TYPE_CHECKING:
    from ..pairwise.loss import Loss
    from ..pairwise.reduce import Evaluator, TileSize

LOSSES = Registry(
    "loss", "counterpoint.losses", exclude=("contrastive_divergence", "modular_contrast"), from_stub=True
)


def names() -> tuple[str, ...]:
    """Return the names that `create` knows."""
    return LOSSES.names()


def create(name: str, *, evaluator: Evaluator = "auto", tile: TileSize | None = None, **options: Any) -> Loss:
    """Return a loss by name.

    Args:
        name: one of `names`.
        evaluator: ``"auto"``, ``"dense"``, ``"tiled"`` or ``"distributed"``; see `counterpoint.pairwise.reduce`.
        tile: rows and columns of a tile.
        options: the loss's own arguments.

    Raises:
        UnknownNameError: if there is no such loss; the message gives the nearest name.
    """
    loss: Loss = LOSSES.get(name)(**options)
    return loss.evaluated(evaluator, tile)
