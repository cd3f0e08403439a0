"""Methods: how one batch becomes losses. A file each; ``create`` builds one by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..objectives import REGISTRY as OBJECTIVES
from ..registry import Registry, lazy_exports

if TYPE_CHECKING:
    from ..networks.base import ImageTower, TextTower
    from ..recipes.schema import Recipe
    from .align import ALIGN
    from .amcl import AMCL
    from .arm import Arm
    from .barlip import BarLIP, BarLIPRocket
    from .base import Method, TwoTower
    from .brivl import BriVL
    from .byolip import BYOLIP, BYOLIPRocket
    from .clip import CLIP
    from .contrast import Contrast
    from .convirt import ConVIRT
    from .cwcl import CWCL
    from .diht import DistilledDiHT
    from .dual import DualEncoder
    from .ebm import EBM
    from .filip import FILIP
    from .fusemix import FuseMix
    from .global_local import CrossModalTerm, GlobalLocal
    from .lit import LiT
    from .m3col import M3Col
    from .mil import MIL
    from .mochi import MoCHi
    from .moco import MoCo
    from .moco_dual_view import MoCoDualView
    from .rocket import CLIPRocket
    from .siamlip import SiamLIP, SiamLIPRocket
    from .siglip import SigLIP
    from .slip import SLIP
    from .swalip import SwALIP, SwALIPRocket
    from .sy_con import SyCon
    from .whitened_cse import WhitenedCSE

_CLASSES = {
    "ALIGN": "align",
    "AMCL": "amcl",
    "BYOLIP": "byolip",
    "BYOLIPRocket": "byolip",
    "BarLIP": "barlip",
    "BarLIPRocket": "barlip",
    "BriVL": "brivl",
    "CLIP": "clip",
    "CLIPRocket": "rocket",
    "CWCL": "cwcl",
    "ConVIRT": "convirt",
    "DistilledDiHT": "diht",
    "EBM": "ebm",
    "FILIP": "filip",
    "FuseMix": "fusemix",
    "LiT": "lit",
    "M3Col": "m3col",
    "MIL": "mil",
    "MoCHi": "mochi",
    "MoCo": "moco",
    "MoCoDualView": "moco_dual_view",
    "SLIP": "slip",
    "SiamLIP": "siamlip",
    "SiamLIPRocket": "siamlip",
    "SigLIP": "siglip",
    "SwALIP": "swalip",
    "SwALIPRocket": "swalip",
    "SyCon": "sy_con",
    "WhitenedCSE": "whitened_cse",
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
    "decoupled_uniformity",
    "diht",
    "grouped_infonce",
    "hard_contrastive",
    "isogclr",
    "kernel_infonce",
    "llave",
    "macl",
    "margin_ntxent",
    "multi_sclip",
    "poly_view",
    "simcse",
    "spectral",
    "supcon",
)
"""Objectives that are methods by themselves, on the views of `Contrast`."""
METHODS = Registry(
    "method",
    {name: f"{__name__}.{_CLASSES[symbol]}:{symbol}" for name, symbol in _NAMES.items()}
    | {name.replace("_", "-"): OBJECTIVES.reference(name) for name in _LOSSES},
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
        options: the method's own arguments; of an objective, its own and those of `Contrast`.

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
    """A method from its class, or from the class of a loss by way of `Contrast`."""
    from .base import TwoTower
    from .contrast import Contrast
    from .options import options_of

    if isinstance(constructor, type) and issubclass(constructor, TwoTower):
        build: Callable[..., TwoTower] = constructor
        return build(image, text, recipe, **options)
    around = {k: options.pop(k) for k in options_of(Contrast) if k in options}
    loss: Any = constructor(**options)
    return Contrast(image, text, recipe, loss, name, **around)


_EXPORTS = {
    **_CLASSES,
    "Arm": "arm",
    "Contrast": "contrast",
    "CrossModalTerm": "global_local",
    "DualEncoder": "dual",
    "GlobalLocal": "global_local",
    "Method": "base",
    "TwoTower": "base",
}
__all__ = [
    "ALIGN",
    "AMCL",
    "BYOLIP",
    "CLIP",
    "CWCL",
    "EBM",
    "FILIP",
    "METHODS",
    "MIL",
    "SLIP",
    "Arm",
    "BYOLIPRocket",
    "BarLIP",
    "BarLIPRocket",
    "BriVL",
    "CLIPRocket",
    "ConVIRT",
    "Contrast",
    "CrossModalTerm",
    "DistilledDiHT",
    "DualEncoder",
    "FuseMix",
    "GlobalLocal",
    "LiT",
    "M3Col",
    "Method",
    "MoCHi",
    "MoCo",
    "MoCoDualView",
    "SiamLIP",
    "SiamLIPRocket",
    "SigLIP",
    "SwALIP",
    "SwALIPRocket",
    "SyCon",
    "TwoTower",
    "WhitenedCSE",
    "create",
    "names",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
