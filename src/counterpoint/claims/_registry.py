"""Names of what this room offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import Room

if TYPE_CHECKING:
    pass

CLAIMS = Room("claim", "counterpoint.claims", "run", without=("lab", "benches"))
