"""What a representation looks like inside: spread, alignment, the gap between modalities, collapse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import lazy_exports

if TYPE_CHECKING:
    from .analogies import arithmetic
    from .cooccurrence import induced_positives, normalised, principal_angles
    from .features import Features
    from .gap import centroid_gap, separability
    from .geometry import (
        alignment,
        collapse_warning,
        effective_rank,
        explained_variance,
        std_per_dimension,
        tolerance,
        uniformity,
    )
    from .overview import describe

_EXPORTS = {
    "Features": "features",
    "alignment": "geometry",
    "arithmetic": "analogies",
    "centroid_gap": "gap",
    "collapse_warning": "geometry",
    "describe": "overview",
    "effective_rank": "geometry",
    "explained_variance": "geometry",
    "induced_positives": "cooccurrence",
    "normalised": "cooccurrence",
    "principal_angles": "cooccurrence",
    "separability": "gap",
    "std_per_dimension": "geometry",
    "tolerance": "geometry",
    "uniformity": "geometry",
}
__all__ = [
    "Features",
    "alignment",
    "arithmetic",
    "centroid_gap",
    "collapse_warning",
    "describe",
    "effective_rank",
    "explained_variance",
    "induced_positives",
    "normalised",
    "principal_angles",
    "separability",
    "std_per_dimension",
    "tolerance",
    "uniformity",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
