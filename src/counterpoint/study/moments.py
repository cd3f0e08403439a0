"""The moments that a run found: those of a few test clips, for the report."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files import writing
from ..types import FoundMoments

FILE = "moments.npz"
_FIELDS = ("queries", "true_spans", "true_saliency", "spans", "saliency")


def write(folder: Path, moments: Mapping[str, FoundMoments]) -> None:
    """Write the moments of every test set into a run's folder."""
    arrays: dict[str, Any] = {
        f"{number}.{field}": np.asarray(getattr(of_test, field))
        for number, of_test in enumerate(moments.values())
        for field in _FIELDS
    }
    with writing(folder / FILE) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays, tests=np.array(list(moments)))


def read(folder: Path) -> dict[str, FoundMoments]:
    """Return the moments of a run by test set; none where the file is missing or cannot be read."""
    try:
        with np.load(folder / FILE) as arrays:
            return {
                str(test): FoundMoments(
                    tuple(map(str, arrays[f"{number}.queries"])),
                    *(arrays[f"{number}.{field}"] for field in _FIELDS[1:]),
                )
                for number, test in enumerate(arrays["tests"])
            }
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return {}
