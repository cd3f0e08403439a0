"""Losses on bare embeddings, a file each.

>>> import torch
>>> from counterpoint import objectives
>>> loss = objectives.create("siglip")
>>> loss(torch.eye(4), torch.eye(4)).item() < 1
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry import Registry, lazy_exports

if TYPE_CHECKING:
    from ..pairwise.objective import Objective
    from ..pairwise.reduce import Evaluator, TileSize
    from .bootstrap.negative_cosine import NegativeCosine
    from .contrastive.alignment_uniformity import AlignUniform, alignment, cross_uniformity, uniformity
    from .contrastive.contrastive_gap import ContrastiveGap
    from .contrastive.infonce import InfoNCE
    from .contrastive.ntxent import NTXent
    from .contrastive.rocket import Rocket
    from .contrastive.siglip import SigLIP
    from .contrastive.swalip import SwALIP, SwALIPPrototypes
    from .redundancy.barlow import BarlowTwins

_CLASSES = {
    "AlignUniform": "contrastive.alignment_uniformity",
    "BarlowTwins": "redundancy.barlow",
    "ContrastiveGap": "contrastive.contrastive_gap",
    "InfoNCE": "contrastive.infonce",
    "NTXent": "contrastive.ntxent",
    "NegativeCosine": "bootstrap.negative_cosine",
    "Rocket": "contrastive.rocket",
    "SigLIP": "contrastive.siglip",
    "SwALIP": "contrastive.swalip",
    "SwALIPPrototypes": "contrastive.swalip",
}
_NAMES = {
    "align_uniform": "AlignUniform",
    "barlow_twins": "BarlowTwins",
    "contrastive_gap": "ContrastiveGap",
    "infonce": "InfoNCE",
    "negative_cosine": "NegativeCosine",
    "ntxent": "NTXent",
    "rocket": "Rocket",
    "siglip": "SigLIP",
    "swalip": "SwALIP",
    "swalip_prototypes": "SwALIPPrototypes",
}
REGISTRY = Registry(
    "objective", {name: f"{__name__}.{_CLASSES[symbol]}:{symbol}" for name, symbol in _NAMES.items()}
)


def names() -> tuple[str, ...]:
    """The names that `create` knows."""
    return REGISTRY.names()


def create(
    name: str, *, evaluator: Evaluator = "auto", tile: TileSize | None = None, **options: Any
) -> Objective:
    """An objective by name.

    Args:
        name: one of `names`.
        evaluator: ``"auto"``, ``"dense"``, ``"tiled"`` or ``"distributed"``; see
            `counterpoint.pairwise.reduce`.
        tile: rows and columns of a tile.
        options: the objective's own arguments.

    Raises:
        UnknownName: if there is no such objective; the message gives the nearest name.
    """
    objective: Objective = REGISTRY.create(name, **options)
    return objective.evaluated(evaluator, tile)


_EXPORTS = {
    **_CLASSES,
    "alignment": "contrastive.alignment_uniformity",
    "cross_uniformity": "contrastive.alignment_uniformity",
    "uniformity": "contrastive.alignment_uniformity",
}
__all__ = [
    "AlignUniform",
    "BarlowTwins",
    "ContrastiveGap",
    "InfoNCE",
    "NTXent",
    "NegativeCosine",
    "Rocket",
    "SigLIP",
    "SwALIP",
    "SwALIPPrototypes",
    "alignment",
    "create",
    "cross_uniformity",
    "names",
    "uniformity",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
