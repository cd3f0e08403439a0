"""The class maps of a run: those of a few test pictures, for the report."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files import writing
from ..types import LabelMaps

FILE = "maps.npz"
_FIELDS = ("names", "pictures", "true", "predicted")


def write(folder: Path, maps: Mapping[str, LabelMaps]) -> None:
    """Write the maps of every test set into a run's folder."""
    arrays: dict[str, Any] = {
        f"{number}.{field}": np.asarray(getattr(of_test, field))
        for number, of_test in enumerate(maps.values())
        for field in _FIELDS
    }
    with writing(folder / FILE) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays, tests=np.array(list(maps)))


def read(folder: Path) -> dict[str, LabelMaps]:
    """Return the maps of a run by test set; none where the file is missing or cannot be read."""
    try:
        with np.load(folder / FILE) as arrays:
            return {
                str(test): LabelMaps(
                    tuple(map(str, arrays[f"{number}.names"])),
                    *(arrays[f"{number}.{field}"] for field in _FIELDS[1:]),
                )
                for number, test in enumerate(arrays["tests"])
            }
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return {}
