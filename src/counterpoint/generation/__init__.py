"""Text to pictures, with any generator: prompts that say more, and choosing among what comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import lazy_exports

if TYPE_CHECKING:
    from .multilingual_prompting import LANGUAGES, SETS, in_languages, repeated, variants
    from .reranking import Candidates, Generator, draw

_EXPORTS = {
    "Candidates": "reranking",
    "Generator": "reranking",
    "LANGUAGES": "multilingual_prompting",
    "SETS": "multilingual_prompting",
    "draw": "reranking",
    "in_languages": "multilingual_prompting",
    "repeated": "multilingual_prompting",
    "variants": "multilingual_prompting",
}
__all__ = [
    "LANGUAGES",
    "SETS",
    "Candidates",
    "Generator",
    "draw",
    "in_languages",
    "repeated",
    "variants",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
