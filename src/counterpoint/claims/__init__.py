"""Claims: a file per paper, the experiment that tests it at a size that two cores can carry.

>>> from counterpoint import claims
>>> "siglip" in claims.CLAIMS
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import Registry, lazy_exports

if TYPE_CHECKING:
    from .claim import Claim, Lab, reproduce

_MODULES = {
    "align": "align",
    "align-uniform": "align_uniform",
    "amcl": "amcl",
    "augmentation-concentration": "augmentation_concentration",
    "bivlc": "bivlc",
    "brivl": "brivl",
    "cacr": "cacr",
    "clip-rocket": "clip_rocket",
    "contrastive-gap": "contrastive_gap",
    "contrastive-loss-behaviour": "contrastive_loss_behaviour",
    "contrastive-margins-sv": "contrastive_margins_sv",
    "convirt": "convirt",
    "count-to-ten": "count_to_ten",
    "crl-framework": "crl_framework",
    "cross-the-gap": "cross_the_gap",
    "cwcl": "cwcl",
    "dcl": "dcl",
    "decoupled-uniformity": "decoupled_uniformity",
    "dense-align-uniform": "dense_align_uniform",
    "dexml": "dexml",
    "diht": "diht",
    "fusemix": "fusemix",
    "grad-cache": "grad_cache",
    "how-vits-work": "how_vits_work",
    "inf-cl": "inf_cl",
    "inpaintcoco": "inpaintcoco",
    "isogclr": "isogclr",
    "kernel-infonce": "kernel_infonce",
    "lit": "lit",
    "llave": "llave",
    "m2-encoder": "m2_encoder",
    "m3col": "m3col",
    "macl": "macl",
    "mil-multimodal": "mil_multimodal",
    "mmcl-generalization": "mmcl_generalization",
    "mmvp": "mmvp",
    "mochi": "mochi",
    "moco": "moco",
    "moco-dual-view": "moco_dual_view",
    "multiberts": "multiberts",
    "naive-bayes-linear-eval": "naive_bayes_linear_eval",
    "poly-view": "poly_view",
    "siglip": "siglip",
    "simcse": "simcse",
    "supcon": "supcon",
    "sy-con": "sy_con",
    "teaching-matters": "teaching_matters",
    "whitened-cse": "whitened_cse",
}
CLAIMS = Registry("claim", {slug: f"{__name__}.{module}:CLAIM" for slug, module in _MODULES.items()})

__all__ = ["CLAIMS", "Claim", "Lab", "reproduce"]
__getattr__, __dir__ = lazy_exports(__name__, {"Claim": "claim", "Lab": "claim", "reproduce": "claim"})
