"""Units of work that are never done twice: carried out in leased folders, told of by one listener, stopped one way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import lazy_exports

if TYPE_CHECKING:
    from .lease import InUse, leased
    from .local import Local, UnitFailed
    from .signals import Stopped, postponed
    from .unit import Executor, Listener, NullListener, OnProgress, Portable, Progress, Unit

__all__ = [
    "Executor",
    "InUse",
    "Listener",
    "Local",
    "NullListener",
    "OnProgress",
    "Portable",
    "Progress",
    "Stopped",
    "Unit",
    "UnitFailed",
    "leased",
    "postponed",
]
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Executor": "unit",
        "InUse": "lease",
        "Listener": "unit",
        "Local": "local",
        "NullListener": "unit",
        "OnProgress": "unit",
        "Portable": "unit",
        "Progress": "unit",
        "Stopped": "signals",
        "Unit": "unit",
        "UnitFailed": "local",
        "leased": "lease",
        "postponed": "signals",
    },
)
