"""Ledgers in the cache folder: what was left out of each source."""

from __future__ import annotations

import os
import re
from hashlib import blake2b
from pathlib import Path

from ..cache import cache_folder, writing
from ..sources import Ledger

LONGEST = 100
"""Bytes of a source's name in its ledger's, as file systems take 255 and options may be longer."""


def ledger_file(source: Path) -> Path:
    """Return the place of a source's ledger in the cache folder."""
    whole = blake2b(os.fsencode(source.absolute()), digest_size=4).hexdigest()
    plain = re.sub(r"[^\w.-]+", "-", source.name).encode()[:LONGEST].decode(errors="ignore")
    return cache_folder() / "left-out" / f"{plain}-{whole}.csv"


def keep(ledger: Ledger, path: Path) -> None:
    """Write a ledger to its file; an empty one leaves no file."""
    if len(ledger.frame):
        with writing(path) as part:
            ledger.write(part)
    else:
        path.unlink(missing_ok=True)
