"""Studies of decoding: methods × seeds × tasks on one trained model, each beside plain sampling and its own rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...registry import lazy_exports

if TYPE_CHECKING:
    from .arm import DecodingArm
    from .design import DecodingDesign
    from .study import DecodingStudy, compare_decoding

__all__ = ["DecodingArm", "DecodingDesign", "DecodingStudy", "compare_decoding"]
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "DecodingArm": "arm",
        "DecodingDesign": "design",
        "DecodingStudy": "study",
        "compare_decoding": "study",
    },
)
