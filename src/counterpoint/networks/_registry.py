"""Names of what this room offers."""

from __future__ import annotations

from ..modalities import MODALITIES

TOWERS = (
    *dict.fromkeys(name for modality in MODALITIES for name in modality.towers),
    "fracast:fracast-0@package",
    "resemblyzer:ge2e@package",
    "timm:tf_efficientnet_lite0@package",
    "transformers:all-MiniLM-L6-v2@package",
    "transformers:SmolLM2-135M-Instruct@package",
)
"""Names of towers in a recipe; ``@WEIGHTS`` after a name reads pretrained ones (``cnn``, ``vit``, ``mlp``: a run's)."""
