"""Names of what this room offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..losses import LOSSES
from ..registry import Registry

if TYPE_CHECKING:
    from ..networks.base import ImageTower, TextTower
    from ..recipes.schema import Recipe
    from .base import TwoTower

_CLASSES = {
    "ALIGN": "dual.align",
    "AMCL": "single.amcl",
    "BYOLIP": "rocket.byolip",
    "BYOLIPRocket": "rocket.byolip",
    "BarLIP": "rocket.barlip",
    "BarLIPRocket": "rocket.barlip",
    "BriVL": "queue.brivl",
    "CLIP": "dual.clip",
    "CLIPRocket": "rocket.clip_rocket",
    "CWCL": "dual.cwcl",
    "ConVIRT": "dual.convirt",
    "DistilledDiHT": "dual.diht",
    "EBM": "single.ebm",
    "FILIP": "dual.filip",
    "FuseMix": "fusion.fusemix",
    "LiT": "dual.lit",
    "M3Col": "fusion.m3col",
    "MIL": "dual.mil",
    "MoCHi": "queue.mochi",
    "MoCo": "queue.moco",
    "MoCoDualView": "queue.moco_dual_view",
    "SLIP": "rocket.slip",
    "SiamLIP": "rocket.siamlip",
    "SiamLIPRocket": "rocket.siamlip",
    "SigLIP": "dual.siglip",
    "SwALIP": "rocket.swalip",
    "SwALIPRocket": "rocket.swalip",
    "SyCon": "queue.sy_con",
    "WhitenedCSE": "single.whitened_cse",
}

_NAMES = {
    "align": "ALIGN",
    "amcl": "AMCL",
    "barlip": "BarLIP",
    "barlip-rocket": "BarLIPRocket",
    "brivl": "BriVL",
    "byolip": "BYOLIP",
    "byolip-rocket": "BYOLIPRocket",
    "clip": "CLIP",
    "clip-rocket": "CLIPRocket",
    "convirt": "ConVIRT",
    "cwcl": "CWCL",
    "diht-distilled": "DistilledDiHT",
    "ebm": "EBM",
    "filip": "FILIP",
    "fusemix": "FuseMix",
    "lit": "LiT",
    "m3col": "M3Col",
    "mil": "MIL",
    "mochi": "MoCHi",
    "moco": "MoCo",
    "moco-dual-view": "MoCoDualView",
    "siamlip": "SiamLIP",
    "siamlip-rocket": "SiamLIPRocket",
    "siglip": "SigLIP",
    "slip": "SLIP",
    "swalip": "SwALIP",
    "swalip-rocket": "SwALIPRocket",
    "sy-con": "SyCon",
    "whitened-cse": "WhitenedCSE",
}

_LOSSES: tuple[str, ...] = (
    "cacr",
    "dcl",
    "decoupled-uniformity",
    "diht",
    "grouped-infonce",
    "hard-contrastive",
    "isogclr",
    "kernel-infonce",
    "llave",
    "macl",
    "margin-ntxent",
    "multi-sclip",
    "poly-view",
    "simcse",
    "spectral",
    "supcon",
)

"""Losses that are methods by themselves, on the views of `SingleLoss`."""

METHODS = Registry(
    "method",
    {name: f"counterpoint.methods.{_CLASSES[symbol]}:{symbol}" for name, symbol in _NAMES.items()}
    | {name: LOSSES.reference(name) for name in _LOSSES},
)


def names() -> tuple[str, ...]:
    """The names that `create` knows."""
    return METHODS.names()


def create(name: str, image: ImageTower, text: TextTower, recipe: Recipe, **options: Any) -> TwoTower:
    """A method by name.

    Args:
        name: one of `names`.
        image, text: the towers.
        recipe: gives widths, smoothing and dropout.
        options: the method's own arguments; of a loss, its own and those of `SingleLoss`.

    Raises:
        UnknownName: if there is no such method or option; the message gives the nearest name.
        ValueError: for a value an option cannot take.
    """
    from .options import check

    constructor = METHODS.get(name)
    check(name, constructor, options)
    return assemble(name, constructor, image, text, recipe, **options)


def assemble(
    name: str,
    constructor: Callable[..., Any],
    image: ImageTower,
    text: TextTower,
    recipe: Recipe,
    **options: Any,
) -> TwoTower:
    """A method from its class, or from the class of a loss by way of `SingleLoss`."""
    from .base import TwoTower
    from .options import options_of
    from .single.single_loss import SingleLoss

    if isinstance(constructor, type) and issubclass(constructor, TwoTower):
        build: Callable[..., TwoTower] = constructor
        return build(image, text, recipe, **options)
    around = {k: options.pop(k) for k in options_of(SingleLoss) if k in options}
    loss: Any = constructor(**options)
    return SingleLoss(image, text, recipe, loss, name, **around)
