"""Other models that a method asks while it trains, and image towers with weights, by their names."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..networks.base import ImageTower
from ..networks.towers.build import build_image_tower
from ..networks.weights import is_restored
from ..registry import load
from .tower_method import TowerMethod

Frozen = tuple[TowerMethod, ...]
"""The model, in a tuple, and so no module of the method: neither trained, nor saved, nor shared by ranks.

Empty where a trained method is read again, which is used without the other model.
"""


def frozen(option: str, name: str, picture_size: int | None) -> Frozen:
    """Load a model in evaluation mode.

    Args:
        option: of the method that names it, for messages.
        name: as `counterpoint.load` reads it.
        picture_size: of the pictures that both are to see.

    Raises:
        ValueError: for a model that cannot be read, or that takes pictures of another size.
    """
    if is_restored():
        return ()
    try:
        # By name, as rooms import downwards only.
        model: TowerMethod = load("counterpoint.models:load")(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{option}={name!r} cannot be read: {error}. Name a model that can be read; a run that has begun needs the "
            "same one up to its last step"
        ) from None
    if model.picture_size is None:
        raise ValueError(f"{option}={name!r} takes no pictures")
    _check_size(option, name, model.picture_size, picture_size)
    return (model.requires_grad_(False).eval(),)


def embed_in_parts(model: TowerMethod, column: str, prepared: Tensor, part: int) -> Float[Tensor, "B d"]:
    """Return unit-norm embeddings of a batch, computed so many examples at a time; 0 is all at once."""
    parts = torch.split(prepared, part or len(prepared) or 1)
    return torch.cat([model.embed_prepared(column, some) for some in parts])


def check_weights(option: str, name: str) -> None:
    """Refuse an image tower that is named without weights.

    Raises:
        ValueError: saying how they are named.
    """
    if "@" not in name:
        raise ValueError(f"{option}={name!r} has no weights; name them after an @: timm:NAME@FILE or cnn@RUN")


def trained_tower(option: str, name: str, picture_size: int) -> ImageTower:
    """Build an image tower with its weights.

    Args:
        option: of the method that names it, for messages.
        name: as an arm names it, with its weights.
        picture_size: of the pictures that the method's own tower takes.

    Raises:
        ValueError: for a tower that cannot be read, or is of pictures of another size.
    """
    try:
        tower = build_image_tower(name, picture_size)
    except (OSError, ValueError) as error:
        raise ValueError(f"{option}={name!r} cannot be read: {error}") from None
    _check_size(option, name, tower.size, picture_size)
    return tower


def _check_size(option: str, name: str, size: int, picture_size: int | None) -> None:
    if size != picture_size:
        raise ValueError(
            f"{option}={name!r} takes pictures of {size} pixels and the image tower those of {picture_size}; set "
            f"towers.image_size={size}"
        )
