"""Networks: towers, tokenizers, heads, momentum copies, how their weights start and which of them move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import lazy_exports

if TYPE_CHECKING:
    from . import heads
    from .base import ImageTower, TextTower, Tokenizer, Tower
    from .convnet import ConvNet
    from .feature_mixture import AdditiveMixture, InterleavedMixture
    from .momentum import MomentumCopy
    from .non_local import NonLocal
    from .queue import KeyQueue
    from .regions import RegionTower
    from .start import initialise
    from .tokenizer import BytePairTokenizer
    from .towers import build_towers
    from .transformer import TextTransformer, VisionTransformer
    from .tuning import freeze_layers, tune
    from .whitening import GroupWhitening

TOWERS = (
    *("cnn", "vit", "transformer", "timm:NAME", "transformers:NAME", "open_clip:NAME"),
    "transformers:all-MiniLM-L6-v2@package",
)
"""What a recipe can name as a tower; ``@WEIGHTS`` after it reads pretrained ones (``cnn``, ``vit``: of a run)."""

_EXPORTS = {
    "AdditiveMixture": "feature_mixture",
    "BytePairTokenizer": "tokenizer",
    "ConvNet": "convnet",
    "GroupWhitening": "whitening",
    "ImageTower": "base",
    "InterleavedMixture": "feature_mixture",
    "KeyQueue": "queue",
    "MomentumCopy": "momentum",
    "NonLocal": "non_local",
    "RegionTower": "regions",
    "TextTower": "base",
    "TextTransformer": "transformer",
    "Tokenizer": "base",
    "Tower": "base",
    "VisionTransformer": "transformer",
    "build_towers": "towers",
    "freeze_layers": "tuning",
    "heads": "",
    "initialise": "start",
    "tune": "tuning",
}
__all__ = [
    "TOWERS",
    "AdditiveMixture",
    "BytePairTokenizer",
    "ConvNet",
    "GroupWhitening",
    "ImageTower",
    "InterleavedMixture",
    "KeyQueue",
    "MomentumCopy",
    "NonLocal",
    "RegionTower",
    "TextTower",
    "TextTransformer",
    "Tokenizer",
    "Tower",
    "VisionTransformer",
    "build_towers",
    "freeze_layers",
    "heads",
    "initialise",
    "tune",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
