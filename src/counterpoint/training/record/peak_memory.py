"""The most memory that a process took."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path


class PeakMemory:
    """Peak resident memory of this process in bytes, from now on where the system can reset it, else from its start."""

    def __init__(self) -> None:
        with suppress(OSError):
            # Linux: 5 sets the peak back to what is in use now.
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def read(self) -> int:
        try:
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # macOS counts bytes, the others kilobytes.
        return peak if sys.platform == "darwin" else peak * 1024
