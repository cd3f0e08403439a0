"""Networks: towers, tokenizers, heads, momentum copies, and how their weights start and which of them move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import lazy_exports

if TYPE_CHECKING:
    from . import heads
    from .base import ImageTower, TextTower, Tokenizer, Tower
    from .convnet import ConvNet
    from .initialise import initialise
    from .momentum import MomentumCopy
    from .tokenizer import BytePairTokenizer
    from .towers import build_towers, list_towers
    from .transformer import TextTransformer, VisionTransformer
    from .tuning import freeze_layers, tune

_EXPORTS = {
    "BytePairTokenizer": "tokenizer",
    "ConvNet": "convnet",
    "ImageTower": "base",
    "MomentumCopy": "momentum",
    "TextTower": "base",
    "TextTransformer": "transformer",
    "Tokenizer": "base",
    "Tower": "base",
    "VisionTransformer": "transformer",
    "build_towers": "towers",
    "freeze_layers": "tuning",
    "heads": "",
    "initialise": "initialise",
    "list_towers": "towers",
    "tune": "tuning",
}
__all__ = [  # noqa: PLE0604
    "BytePairTokenizer",
    "ConvNet",
    "ImageTower",
    "MomentumCopy",
    "TextTower",
    "TextTransformer",
    "Tokenizer",
    "Tower",
    "VisionTransformer",
    "build_towers",
    "freeze_layers",
    "heads",
    "initialise",
    "list_towers",
    "tune",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
