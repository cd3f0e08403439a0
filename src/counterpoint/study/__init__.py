"""Studies: methods × seeds on the same examples, and what can be said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import lazy_exports

if TYPE_CHECKING:
    from .design import Design
    from .runner import run, train
    from .study import Study, compare

__all__ = ["Design", "Study", "compare", "run", "train"]
__getattr__, __dir__ = lazy_exports(
    __name__,
    {"Design": "design", "Study": "study", "compare": "study", "run": "runner", "train": "runner"},
)
