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
    "cl-simplicity-bias": "cl_simplicity_bias",
    "clip-rocket": "clip_rocket",
    "code-decoding": "code_decoding",
    "compa": "compa",
    "concept-association-bias": "concept_association_bias",
    "contextual-lens": "contextual_lens",
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
    "ebm-vs-cl-vqa": "ebm_vs_cl_vqa",
    "evalign-icl": "evalign_icl",
    "fudd": "fudd",
    "fusemix": "fusemix",
    "grad-cache": "grad_cache",
    "how-vits-work": "how_vits_work",
    "image-induced-fidelity-loss": "image_induced_fidelity_loss",
    "inf-cl": "inf_cl",
    "inpaintcoco": "inpaintcoco",
    "isogclr": "isogclr",
    "kernel-infonce": "kernel_infonce",
    "lcd": "lcd",
    "lit": "lit",
    "llave": "llave",
    "lqcd": "lqcd",
    "m2-encoder": "m2_encoder",
    "m3col": "m3col",
    "macl": "macl",
    "medical-vl-benchmark": "medical_vl_benchmark",
    "mil-multimodal": "mil_multimodal",
    "mmcl-generalization": "mmcl_generalization",
    "mmcl-robustness": "mmcl_robustness",
    "mmvp": "mmvp",
    "mochi": "mochi",
    "moco": "moco",
    "moco-dual-view": "moco_dual_view",
    "modality-importance-score": "modality_importance_score",
    "multi-attribute-bias-amplification": "multi_attribute_bias_amplification",
    "multiberts": "multiberts",
    "mvcd": "mvcd",
    "naive-bayes-linear-eval": "naive_bayes_linear_eval",
    "pmt2i": "pmt2i",
    "poly-view": "poly_view",
    "q-boost": "q_boost",
    "ritual": "ritual",
    "siglip": "siglip",
    "simcse": "simcse",
    "supcon": "supcon",
    "sy-con": "sy_con",
    "teaching-matters": "teaching_matters",
    "vcd": "vcd",
    "vdd": "vdd",
    "vdgd": "vdgd",
    "vibe": "vibe",
    "videocon": "videocon",
    "vlb": "vlb",
    "whitened-cse": "whitened_cse",
}
CLAIMS = Registry("claim", {slug: f"{__name__}.{module}:CLAIM" for slug, module in _MODULES.items()})

__all__ = ["CLAIMS", "Claim", "Lab", "reproduce"]
__getattr__, __dir__ = lazy_exports(__name__, {"Claim": "claim", "Lab": "claim", "reproduce": "claim"})
