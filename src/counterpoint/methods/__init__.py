"""Methods: how one batch becomes losses. A file each; ``create`` builds one by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry import Registry, lazy_exports

if TYPE_CHECKING:
    from ..networks.base import ImageTower, TextTower
    from ..recipes.schema import Recipe
    from .align import ALIGN
    from .arm import Arm
    from .barlip import BarLIP, BarLIPRocket
    from .base import Method, TwoTower
    from .byolip import BYOLIP, BYOLIPRocket
    from .clip import CLIP
    from .convirt import ConVIRT
    from .dual import DualEncoder
    from .global_local import CrossModalTerm, GlobalLocal
    from .lit import LiT
    from .rocket import CLIPRocket
    from .siamlip import SiamLIP, SiamLIPRocket
    from .siglip import SigLIP
    from .slip import SLIP
    from .swalip import SwALIP, SwALIPRocket

_CLASSES = {
    "ALIGN": "align",
    "BYOLIP": "byolip",
    "BYOLIPRocket": "byolip",
    "BarLIP": "barlip",
    "BarLIPRocket": "barlip",
    "CLIP": "clip",
    "CLIPRocket": "rocket",
    "ConVIRT": "convirt",
    "LiT": "lit",
    "SLIP": "slip",
    "SiamLIP": "siamlip",
    "SiamLIPRocket": "siamlip",
    "SigLIP": "siglip",
    "SwALIP": "swalip",
    "SwALIPRocket": "swalip",
}
_NAMES = {
    "align": "ALIGN",
    "barlip": "BarLIP",
    "barlip-rocket": "BarLIPRocket",
    "byolip": "BYOLIP",
    "byolip-rocket": "BYOLIPRocket",
    "clip": "CLIP",
    "clip-rocket": "CLIPRocket",
    "convirt": "ConVIRT",
    "lit": "LiT",
    "siamlip": "SiamLIP",
    "siamlip-rocket": "SiamLIPRocket",
    "siglip": "SigLIP",
    "slip": "SLIP",
    "swalip": "SwALIP",
    "swalip-rocket": "SwALIPRocket",
}
METHODS = Registry(
    "method", {name: f"{__name__}.{_CLASSES[symbol]}:{symbol}" for name, symbol in _NAMES.items()}
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
        options: the method's own arguments.

    Raises:
        UnknownName: if there is no such method or option; the message gives the nearest name.
        ValueError: for a value an option cannot take.
    """
    from .options import check

    constructor = METHODS.get(name)
    check(name, constructor, options)
    method: TwoTower = constructor(image, text, recipe, **options)
    return method


_EXPORTS = {
    **_CLASSES,
    "Arm": "arm",
    "CrossModalTerm": "global_local",
    "DualEncoder": "dual",
    "GlobalLocal": "global_local",
    "Method": "base",
    "TwoTower": "base",
}
__all__ = [
    "ALIGN",
    "BYOLIP",
    "CLIP",
    "METHODS",
    "SLIP",
    "Arm",
    "BYOLIPRocket",
    "BarLIP",
    "BarLIPRocket",
    "CLIPRocket",
    "ConVIRT",
    "CrossModalTerm",
    "DualEncoder",
    "GlobalLocal",
    "LiT",
    "Method",
    "SiamLIP",
    "SiamLIPRocket",
    "SigLIP",
    "SwALIP",
    "SwALIPRocket",
    "TwoTower",
    "create",
    "names",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
