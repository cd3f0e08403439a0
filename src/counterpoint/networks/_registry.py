"""Names of what this room offers."""

from __future__ import annotations

from ..modalities import LIBRARIES, MODALITIES

TOWERS = (
    *dict.fromkeys(name for modality in MODALITIES for name in modality.tower_names),
    *(
        f"{LIBRARIES.stated(name, 'library')}:{model}@package"
        for name in LIBRARIES.names()
        for model in LIBRARIES.stated(name, "packages") or ()
    ),
)
"""Names of towers in a recipe; ``@WEIGHTS`` after a name reads pretrained ones (``cnn``, ``vit``, ``mlp``: a run's)."""
