"""Studies: methods × seeds on the same examples, and what can be said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import lazy_exports

if TYPE_CHECKING:
    from .decoding.study import DecodingStudy, compare_decoding
    from .design import Design
    from .runner import run, train
    from .study import Study, compare

__all__ = ["DecodingStudy", "Design", "Study", "compare", "compare_decoding", "run", "train"]
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "DecodingStudy": "decoding.study",
        "Design": "design",
        "Study": "study",
        "compare": "study",
        "compare_decoding": "decoding.study",
        "run": "runner",
        "train": "runner",
    },
)
