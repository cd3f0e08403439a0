"""Claims: a file per paper, the experiment that tests it at a size that two cores can carry.

>>> from counterpoint import claims
>>> "siglip" in claims.CLAIMS
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import Room, lazy_exports

if TYPE_CHECKING:
    from .lab.lab import Claim, Lab, reproduce

CLAIMS = Room("claim", __name__, "CLAIM", without=("lab", "benches"))

__all__ = ["CLAIMS", "Claim", "Lab", "reproduce"]
__getattr__, __dir__ = lazy_exports(__name__, {"Claim": "lab.lab", "Lab": "lab.lab", "reproduce": "lab.lab"})
