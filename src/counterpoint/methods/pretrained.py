"""Pretrained towers of an arm: those that there are, and a pair of them with a common space."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ..networks.base import Tower, Towers
from .single_loss import SingleLoss
from .tower_method import TowerMethod, distinct

if TYPE_CHECKING:
    from ..recipes.schema import Recipe

_BRIDGES = "bridge_projections."


def pretrained(towers: Towers) -> list[Tower]:
    """Return the towers that begin with trained weights, each once."""
    return [tower for tower in distinct(towers).values() if tower.pretrained]


def check_pretrained(towers: Towers, way: str, named: str) -> None:
    """Raise a `ValueError` where an arm says what moves in pretrained towers (``way``) and has none."""
    if pretrained(towers):
        return
    names = [repr(tower.name) for tower in distinct(towers).values()]
    none = f"neither {' nor '.join(names)} is one" if len(names) > 1 else f"{names[0]} is none"
    raise ValueError(f"{named}: tune={way} is for pretrained towers, and {none}; name weights after an @")


def is_pair(towers: Towers) -> bool:
    """Return whether the towers are one model's two, with the layers that lead into its common space."""
    two = pretrained(towers)
    return len(two) == len(towers) == 2 and two[0].name == two[1].name and all(it.projected for it in two)


def as_wide(recipe: Recipe, towers: Towers) -> Recipe:
    """Return a recipe with heads as wide as a pair's common space, so that they can begin as the identity."""
    widths = recipe.widths.model_copy(update={"embedding": next(iter(towers.values())).width})
    return recipe.model_copy(update={"widths": widths})


def check_bare(method: TowerMethod, named: str) -> None:
    """Raise a `ValueError` where a method that nothing is trained of has more than a pretrained tower."""
    if not (isinstance(method, SingleLoss) and method.head == "identity"):
        raise ValueError(
            f"{named}: tune=none trains nothing, so it needs a pretrained tower by itself, timm:NAME@FILE, a "
            "pretrained pair of towers with a common space, for example open_clip:ViT-B-32@FILE, or from=RUN"
        )


def check_bridge(method: TowerMethod, read: Collection[str], named: str) -> None:
    """Raise a `ValueError` where a method that nothing is trained of has a bridge that its run did not give."""
    names = (name for name in method.state_dict() if name.startswith(_BRIDGES))
    wanted = {".".join(name.split(".")[:2]) for name in names}
    if not wanted <= {*read}:
        raise ValueError(
            f"{named}: tune=none trains nothing, and the run that it goes on from has no such bridge: give the "
            "options of that run's arm (bridge=…, tokens=…)"
        )
