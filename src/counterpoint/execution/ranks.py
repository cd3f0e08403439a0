"""Errors of the processes that ``torchrun`` starts: the first to fail speaks for all."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path


def first_to_fail(reason: str) -> bool:
    """Tell whether no other process of this machine's launcher has failed before; True without a launcher.

    The peers of a process that fails soon fail as well, because it is gone: call this before it leaves them, and again
    wherever the answer is needed. The first one's reason is also left where the launcher looks for the cause that it
    states last.
    """
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is None:
        return True
    # The launcher gives each process a folder of its own in one folder for all.
    report = Path(path)
    mark = report.parent.parent / "failed"
    try:
        with mark.open("x") as file:
            file.write(str(os.getpid()))
        body = {"message": reason, "extraInfo": {"py_callstack": reason, "timestamp": str(int(time.time()))}}
        report.write_text(json.dumps({"message": body}), encoding="utf-8")
    except FileExistsError:
        return mark.read_text() == str(os.getpid())
    except OSError:
        return True
    return True
