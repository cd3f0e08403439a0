"""What a representation looks like inside: spread, alignment, the gap between modalities, collapse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import lazy_exports

if TYPE_CHECKING:
    from .analogies import arithmetic
    from .augmentation import Centres, Concentration, augmented_distance, centres, concentration
    from .capture import Captured, Step, captured
    from .cooccurrence import induced_positives, normalised, principal_angles
    from .dense import at_same_place, dense_alignment, dense_uniformity, most_similar
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
    from .inside.cka import CKA
    from .inside.fourier import band_noise, relative_log_amplitude, spatial_variance
    from .inside.hessian import top_eigenvalues
    from .inside.landscape import Landscape, landscape
    from .inside.lesions import lesion, lesions
    from .inside.neighbours import named_by_neighbours
    from .inside.residuals import Residuals, residuals
    from .inversion import average_precision, to_image, to_text
    from .negatives import Hardness, hardness
    from .overview import describe
    from .regression import multiple_correlation

_EXPORTS = {
    "CKA": "inside.cka",
    "Captured": "capture",
    "Centres": "augmentation",
    "Concentration": "augmentation",
    "Features": "features",
    "Hardness": "negatives",
    "Landscape": "inside.landscape",
    "Residuals": "inside.residuals",
    "Step": "capture",
    "alignment": "geometry",
    "arithmetic": "analogies",
    "at_same_place": "dense",
    "augmented_distance": "augmentation",
    "average_precision": "inversion",
    "band_noise": "inside.fourier",
    "captured": "capture",
    "centres": "augmentation",
    "centroid_gap": "gap",
    "collapse_warning": "geometry",
    "concentration": "augmentation",
    "dense_alignment": "dense",
    "dense_uniformity": "dense",
    "describe": "overview",
    "effective_rank": "geometry",
    "explained_variance": "geometry",
    "hardness": "negatives",
    "induced_positives": "cooccurrence",
    "landscape": "inside.landscape",
    "lesion": "inside.lesions",
    "lesions": "inside.lesions",
    "most_similar": "dense",
    "multiple_correlation": "regression",
    "named_by_neighbours": "inside.neighbours",
    "normalised": "cooccurrence",
    "principal_angles": "cooccurrence",
    "relative_log_amplitude": "inside.fourier",
    "residuals": "inside.residuals",
    "separability": "gap",
    "spatial_variance": "inside.fourier",
    "std_per_dimension": "geometry",
    "to_image": "inversion",
    "to_text": "inversion",
    "tolerance": "geometry",
    "top_eigenvalues": "inside.hessian",
    "uniformity": "geometry",
}
__all__ = [
    "CKA",
    "Captured",
    "Centres",
    "Concentration",
    "Features",
    "Hardness",
    "Landscape",
    "Residuals",
    "Step",
    "alignment",
    "arithmetic",
    "at_same_place",
    "augmented_distance",
    "average_precision",
    "band_noise",
    "captured",
    "centres",
    "centroid_gap",
    "collapse_warning",
    "concentration",
    "dense_alignment",
    "dense_uniformity",
    "describe",
    "effective_rank",
    "explained_variance",
    "hardness",
    "induced_positives",
    "landscape",
    "lesion",
    "lesions",
    "most_similar",
    "multiple_correlation",
    "named_by_neighbours",
    "normalised",
    "principal_angles",
    "relative_log_amplitude",
    "residuals",
    "separability",
    "spatial_variance",
    "std_per_dimension",
    "to_image",
    "to_text",
    "tolerance",
    "top_eigenvalues",
    "uniformity",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
