"""Another model that a method asks while it trains: loaded by its name, frozen, and no part of what is trained."""

from __future__ import annotations

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
        raise ValueError(f"{option}={name!r} cannot be read: {error}") from None
    if model.picture_size != picture_size:
        takes = "no pictures" if model.picture_size is None else f"pictures of {model.picture_size} pixels"
        raise ValueError(
            f"{option}={name!r} takes {takes} and the image tower those of {picture_size}"
            + (f"; set towers.image_size={model.picture_size}" if model.picture_size else "")
        )
    return (model.requires_grad_(False).eval(),)
