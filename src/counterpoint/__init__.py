"""counterpoint: which pre-training method really helps on your paired data."""

from __future__ import annotations

from .registry import lazy_exports

__version__ = "0.1.0"

_EXPORTS = {
    "catalog": "",
    "data": "",
    "diagnostics": "",
    "evaluation": "",
    "methods": "",
    "networks": "",
    "objectives": "",
    "pairwise": "",
    "recipes": "",
    "statistics": "",
    "study": "",
    "training": "",
    "types": "",
    "compare": "study",
    "compare_decoding": "study",
    "load": "training",
    "train": "study",
}
__all__ = [*_EXPORTS, "__version__"]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
