"""Training: the loop, the optimiser and its schedule, checkpoints, and the run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import lazy_exports

if TYPE_CHECKING:
    from .checkpoint import CheckpointError
    from .loop import Progress, fit
    from .memory import MemoryReport
    from .run import Run, RunState, load

__all__ = ["CheckpointError", "MemoryReport", "Progress", "Run", "RunState", "fit", "load"]
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "CheckpointError": "checkpoint",
        "MemoryReport": "memory",
        "Progress": "loop",
        "Run": "run",
        "RunState": "run",
        "fit": "loop",
        "load": "run",
    },
)
