"""An error is one line that says what failed and what to do."""

from __future__ import annotations

import errno

import pytest

from counterpoint.reasons import reason


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator\nmore"),
            "--microbatch",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "--microbatch"),
        (MemoryError(), "--microbatch"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. \nmore"), "fewer --workers"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a/b"),
            "a/b: No space left on device: free some space",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "a/b"),
            "a/b: Read-only file system: choose a folder that can",
        ),
        (OSError(errno.EACCES, "Permission denied", "a/b"), "a/b: Permission denied: mend its permissions"),
        (ValueError("batch_size must be at least 1"), "batch_size must be at least 1"),
        (KeyError("dcl"), "KeyError: 'dcl' (set COUNTERPOINT_TRACEBACK=1 to see where)"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_says_what_to_do_in_one_line(error: Exception, words: str) -> None:
    assert words in reason(error)
    assert len(reason(error).splitlines()) == 1
