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
    from .contrastive.amcl import AMCL
    from .contrastive.cacr import CACR
    from .contrastive.contrastive_gap import ContrastiveGap
    from .contrastive.count_to_ten import CountToTen
    from .contrastive.cwcl import CWCL
    from .contrastive.dcl import DCL
    from .contrastive.decoupled_uniformity import DecoupledUniformity
    from .contrastive.dexml import DecoupledSoftmax, MultiLabelSoftmax, OneVsAll, SoftTopK
    from .contrastive.diht import DiHT
    from .contrastive.filip import FILIP
    from .contrastive.grouped import GroupedInfoNCE
    from .contrastive.guided import GuidedNTXent
    from .contrastive.hard_contrastive import HardContrastive
    from .contrastive.infonce import InfoNCE
    from .contrastive.isogclr import ISogCLR
    from .contrastive.kernel_infonce import KernelInfoNCE
    from .contrastive.llave import LLaVE
    from .contrastive.m3col import M3Co, MultiSClip
    from .contrastive.macl import MACL
    from .contrastive.margins import MarginNTXent
    from .contrastive.mil import MIL
    from .contrastive.mochi import MoCHi
    from .contrastive.moco import MoCo
    from .contrastive.moco_dual_view import DualView
    from .contrastive.ntxent import NTXent
    from .contrastive.poly_view import PolyView
    from .contrastive.rocket import Rocket
    from .contrastive.siglip import SigLIP
    from .contrastive.simcse import SimCSE
    from .contrastive.spectral import Spectral
    from .contrastive.supcon import SupCon
    from .contrastive.swalip import SwALIP, SwALIPPrototypes
    from .contrastive.sy_con import SyCon, SyConBatch
    from .contrastive.whitened_cse import WhitenedCSE
    from .redundancy.barlow import BarlowTwins

_CLASSES = {
    "AMCL": "contrastive.amcl",
    "AlignUniform": "contrastive.alignment_uniformity",
    "BarlowTwins": "redundancy.barlow",
    "CACR": "contrastive.cacr",
    "CWCL": "contrastive.cwcl",
    "ContrastiveGap": "contrastive.contrastive_gap",
    "CountToTen": "contrastive.count_to_ten",
    "DCL": "contrastive.dcl",
    "DecoupledSoftmax": "contrastive.dexml",
    "DecoupledUniformity": "contrastive.decoupled_uniformity",
    "DiHT": "contrastive.diht",
    "DualView": "contrastive.moco_dual_view",
    "FILIP": "contrastive.filip",
    "GroupedInfoNCE": "contrastive.grouped",
    "GuidedNTXent": "contrastive.guided",
    "HardContrastive": "contrastive.hard_contrastive",
    "ISogCLR": "contrastive.isogclr",
    "InfoNCE": "contrastive.infonce",
    "KernelInfoNCE": "contrastive.kernel_infonce",
    "LLaVE": "contrastive.llave",
    "M3Co": "contrastive.m3col",
    "MACL": "contrastive.macl",
    "MIL": "contrastive.mil",
    "MarginNTXent": "contrastive.margins",
    "MoCHi": "contrastive.mochi",
    "MoCo": "contrastive.moco",
    "MultiLabelSoftmax": "contrastive.dexml",
    "MultiSClip": "contrastive.m3col",
    "NTXent": "contrastive.ntxent",
    "NegativeCosine": "bootstrap.negative_cosine",
    "OneVsAll": "contrastive.dexml",
    "PolyView": "contrastive.poly_view",
    "Rocket": "contrastive.rocket",
    "SigLIP": "contrastive.siglip",
    "SimCSE": "contrastive.simcse",
    "SoftTopK": "contrastive.dexml",
    "Spectral": "contrastive.spectral",
    "SupCon": "contrastive.supcon",
    "SwALIP": "contrastive.swalip",
    "SwALIPPrototypes": "contrastive.swalip",
    "SyCon": "contrastive.sy_con",
    "SyConBatch": "contrastive.sy_con",
    "WhitenedCSE": "contrastive.whitened_cse",
}
_NAMES = {
    "align_uniform": "AlignUniform",
    "amcl": "AMCL",
    "barlow_twins": "BarlowTwins",
    "cacr": "CACR",
    "contrastive_gap": "ContrastiveGap",
    "count_to_ten": "CountToTen",
    "cwcl": "CWCL",
    "dcl": "DCL",
    "decoupled_softmax": "DecoupledSoftmax",
    "decoupled_uniformity": "DecoupledUniformity",
    "diht": "DiHT",
    "filip": "FILIP",
    "grouped_infonce": "GroupedInfoNCE",
    "guided_ntxent": "GuidedNTXent",
    "hard_contrastive": "HardContrastive",
    "infonce": "InfoNCE",
    "isogclr": "ISogCLR",
    "kernel_infonce": "KernelInfoNCE",
    "llave": "LLaVE",
    "m3co": "M3Co",
    "macl": "MACL",
    "margin_ntxent": "MarginNTXent",
    "mil": "MIL",
    "mochi": "MoCHi",
    "moco": "MoCo",
    "moco_dual_view": "DualView",
    "multi_label_softmax": "MultiLabelSoftmax",
    "multi_sclip": "MultiSClip",
    "negative_cosine": "NegativeCosine",
    "ntxent": "NTXent",
    "one_vs_all": "OneVsAll",
    "poly_view": "PolyView",
    "rocket": "Rocket",
    "siglip": "SigLIP",
    "simcse": "SimCSE",
    "soft_top_k": "SoftTopK",
    "spectral": "Spectral",
    "supcon": "SupCon",
    "swalip": "SwALIP",
    "swalip_prototypes": "SwALIPPrototypes",
    "sy_con": "SyCon",
    "sy_con_batch": "SyConBatch",
    "whitened_cse": "WhitenedCSE",
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
    "AMCL",
    "CACR",
    "CWCL",
    "DCL",
    "FILIP",
    "MACL",
    "MIL",
    "AlignUniform",
    "BarlowTwins",
    "ContrastiveGap",
    "CountToTen",
    "DecoupledSoftmax",
    "DecoupledUniformity",
    "DiHT",
    "DualView",
    "GroupedInfoNCE",
    "GuidedNTXent",
    "HardContrastive",
    "ISogCLR",
    "InfoNCE",
    "KernelInfoNCE",
    "LLaVE",
    "M3Co",
    "MarginNTXent",
    "MoCHi",
    "MoCo",
    "MultiLabelSoftmax",
    "MultiSClip",
    "NTXent",
    "NegativeCosine",
    "OneVsAll",
    "PolyView",
    "Rocket",
    "SigLIP",
    "SimCSE",
    "SoftTopK",
    "Spectral",
    "SupCon",
    "SwALIP",
    "SwALIPPrototypes",
    "SyCon",
    "SyConBatch",
    "WhitenedCSE",
    "alignment",
    "create",
    "cross_uniformity",
    "names",
    "uniformity",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
