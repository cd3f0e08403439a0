"""Shortcuts: what is learned instead of what was meant, how well it holds under shift, and what it leaves out.

The tasks read them off an embedder's answers on scenes whose dials tie an easy thing to a hard one; `latent` and
`subclasses` are the linear worlds in which two papers explain where they come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...registry import lazy_exports

if TYPE_CHECKING:
    from .latent import InterClass, IntraClass, zero_shot_weights
    from .robustness import Trend
    from .simplicity import class_share, collapse_index
    from .subclasses import Subclasses, class_moment, second_moment, spectral_descent

_EXPORTS = {
    "InterClass": "latent",
    "IntraClass": "latent",
    "Subclasses": "subclasses",
    "Trend": "robustness",
    "class_moment": "subclasses",
    "class_share": "simplicity",
    "collapse_index": "simplicity",
    "second_moment": "subclasses",
    "spectral_descent": "subclasses",
    "zero_shot_weights": "latent",
}
__all__ = [
    "InterClass",
    "IntraClass",
    "Subclasses",
    "Trend",
    "class_moment",
    "class_share",
    "collapse_index",
    "second_moment",
    "spectral_descent",
    "zero_shot_weights",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
