"""The parts of a model that no layout has a place for: other heads, and what only training uses."""

from __future__ import annotations

from torch import nn

from ..methods.base import Method, TowerMethod
from ..networks.base import ImageTower
from ..pairwise import Temperature
from ..reasons import counted
from ._layout import Layout

_KEPT = ("towers", "projections", "objective")


def left_out(model: TowerMethod, layout: Layout) -> list[str]:
    """Return what an export leaves out of a model, a phrase each; nothing is left out that is not said."""
    said = [f"the head {name!r}" for name in model.heads[1:]]
    said += [
        f"{name} ({type(part).__name__}), which only training uses"
        for name, part in model.named_children()
        if name not in (*_KEPT, "local_projections") and _has_state(part)
    ]
    if getattr(model, "dropout", None):
        said.append("dropout in the text tower, which only training uses")
    if type(model).similarity is not Method.similarity:
        said.append("its own score of a pair: others compare embeddings by their cosine")
    scales = [part for part in model.modules() if isinstance(part, Temperature)]
    if scales and not layout.keeps_scale:
        said.append("the temperature and the bias of similarities, which embeddings do not depend on")
    elif len(scales) > 1:
        said.append(f"{counted(len(scales) - 1, 'temperature')} beside the first")
    if any(tower.fit is None for tower in model.towers.values() if isinstance(tower, ImageTower)):
        said.append("the mean of boxes by which it makes very large pictures smaller, before it resizes them")
    return [*said, *layout.leaves_out(model)]


def scale_of(model: TowerMethod) -> tuple[float, float | None] | None:
    """Return the scale and the bias of similarities that a model was trained with; None for one without a loss."""
    for part in model.modules():
        scale = next((child for child in part.children() if isinstance(child, Temperature)), None)
        if scale is not None:
            bias = getattr(part, "bias", None)
            shift = float(bias.detach()) if isinstance(bias, nn.Parameter) else None
            return float(scale.inverse().detach()), shift
    return None


def _has_state(part: nn.Module) -> bool:
    return next(part.parameters(), None) is not None or next(part.buffers(), None) is not None
