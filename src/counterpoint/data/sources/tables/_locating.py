"""Files that a table names from another folder than its own, or without an ending."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

import polars as pl

from ....modalities import MODALITIES
from .._files.locations import below, is_url

_INSIDE = ("clips", "wavs", "audio", "wav", "sounds", "waveforms")
"""Names of folders beside a table for the files that it names."""


def located(root: str, names: pl.Series) -> pl.Series:
    """Return names of files as seen from a folder; themselves where the first of them is there, or nothing is found.

    A name is looked for in `_INSIDE`, then, if it has no ending, among all files below by what they are called: with a
    ``Y`` in front or a time behind it, as the clips of AudioCaps are, too.
    """
    first = next(iter(names.drop_nulls()), None)
    if first is None or is_url(root) or is_url(first) or os.path.isabs(first) or os.path.isfile(root + first):
        return names
    for folder in _INSIDE:
        if os.path.isfile(os.path.join(root, folder, first)):
            return (f"{folder}/" + names).alias(names.name)
    if PurePath(first).suffix.lower() in _endings():
        return names
    files: dict[str, str] = {}
    for file in _below(root):
        stem = PurePath(file).stem
        called = (os.path.splitext(file)[0], stem, stem.removeprefix("Y"))
        times = (part for name in called[1:] for part in (name.rpartition("_")[0], name.rsplit("_", 2)[0]))
        for name in (*called, *times):
            files.setdefault(name, file)
    return names.map_elements(lambda name: files.get(name, name), return_dtype=pl.String)


def _below(root: str) -> Iterator[str]:
    """Yield the files that are read, below a folder, in order."""
    folder, endings = Path(root or "."), _endings()
    for file in below(folder):
        if file.suffix.lower() in endings:
            yield file.relative_to(folder).as_posix()


def _endings() -> set[str]:
    return {ending for modality in MODALITIES for ending in modality.endings}
