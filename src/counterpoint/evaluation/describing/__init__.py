"""Zero-shot classification by descriptions: what is said of classes beyond their names, and where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...registry import lazy_exports

if TYPE_CHECKING:
    from .fudd import Differential, second_pass
    from .sources import Describe, Kept, LanguageModel, from_grammar

__all__ = ["Describe", "Differential", "Kept", "LanguageModel", "from_grammar", "second_pass"]
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Describe": "sources",
        "Differential": "fudd",
        "Kept": "sources",
        "LanguageModel": "sources",
        "from_grammar": "sources",
        "second_pass": "fudd",
    },
)
