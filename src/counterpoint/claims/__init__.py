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
    "clip-rocket": "clip_rocket",
    "contrastive-gap": "contrastive_gap",
    "convirt": "convirt",
    "lit": "lit",
    "multiberts": "multiberts",
    "naive-bayes-linear-eval": "naive_bayes_linear_eval",
    "siglip": "siglip",
}
CLAIMS = Registry("claim", {slug: f"{__name__}.{module}:CLAIM" for slug, module in _MODULES.items()})

__all__ = ["CLAIMS", "Claim", "Lab", "reproduce"]
__getattr__, __dir__ = lazy_exports(__name__, {"Claim": "claim", "Lab": "claim", "reproduce": "claim"})
