"""What examples in context do to the flaws of a model that answers: five axes, and three ways to show examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....registry import lazy_exports

if TYPE_CHECKING:
    from .abstention import Abstention
    from .flaws import AXES, Axis, examine, sections
    from .matching import Matching, Selection
    from .shots import NOTHING, ZERO_SHOT, InContext, Shots
    from .writing import Captioning, Explanation, Following

_EXPORTS = {
    "AXES": "flaws",
    "Abstention": "abstention",
    "Axis": "flaws",
    "Captioning": "writing",
    "Explanation": "writing",
    "Following": "writing",
    "InContext": "shots",
    "Matching": "matching",
    "NOTHING": "shots",
    "Selection": "matching",
    "Shots": "shots",
    "ZERO_SHOT": "shots",
    "examine": "flaws",
    "sections": "flaws",
}
__all__ = [
    "AXES",
    "NOTHING",
    "ZERO_SHOT",
    "Abstention",
    "Axis",
    "Captioning",
    "Explanation",
    "Following",
    "InContext",
    "Matching",
    "Selection",
    "Shots",
    "examine",
    "sections",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
