"""Names of what this room offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

TOWERS = (
    *("cnn", "vit", "mlp", "transformer", "bag", "timm:NAME", "transformers:NAME", "open_clip:NAME"),
    "transformers:all-MiniLM-L6-v2@package",
)

"""Names of towers in a recipe; ``@WEIGHTS`` after a name reads pretrained ones (``cnn``, ``vit``, ``mlp``: a run's)."""
