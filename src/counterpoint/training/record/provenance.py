"""Digests of what a run is made of: its data part by part, its method, the weights it starts from.

The versions of packages are in ``environment.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from ...data.base import Data, Rows
from ...data.columns import subject
from ...data.fingerprint import PARTS, QUESTIONS, ROW_SCHEMA, digest
from ...files import (
    FORMAT,
    digest_of_file,
    latest_checkpoint,
    read_json,
    read_table,
    run_of,
    write_json,
    write_table,
)
from ...methods.arm import Arm
from ...modalities import MODALITIES
from ...networks.weights import TowerSource, joined_names
from ..folder import is_run, remedy
from ..run import OtherRunError, Run

FILE = "provenance.json"
ROWS = "data.parquet"
"""File with a checksum of every row's parts, so that changed rows can be counted; see `Fingerprint.rows`."""


class ChangedDataError(OtherRunError):
    """The error that a run was made of something else than there is now."""


class Provenance(BaseModel):
    """``provenance.json``.

    Attributes:
        data: the digest of each part of the data.
        loss: the user's loss by its file as the arm names it, with a digest of the source.
        weights: digests of the files and folders of weights, by their names as the user wrote them.
        method: the method with all its options, by its arm, where a study of decoding asks a model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = FORMAT
    data: dict[str, str]
    loss: dict[str, str] = {}
    weights: dict[str, str] = {}
    method: dict[str, str] = {}

    @classmethod
    def of(cls, run: Run, data: Data) -> Provenance:
        """Return the provenance of a run that would begin now; weights that are not there any more have no digest."""
        arm = Arm.parse(run.arm)
        return cls(
            data=dict(data.fingerprint.parts),
            loss={} if arm.loss is None else {str(arm.loss[0]): digest_of_file(arm.loss[0])},
            weights={str(path): digest_of_weights(path) for path in _weights_of(run)},
        )

    @classmethod
    def read(cls, folder: Path) -> Provenance:
        """Read the provenance of a run.

        Raises:
            DamagedFileError: if it is missing or cannot be read.
        """
        return read_json(folder / FILE, cls, remedy(folder))

    def keep(self, data: Data, folder: Path) -> None:
        """Write what a run is made of into its folder, when it begins; what is there already stays."""
        # A run that goes on is still of what it began with, and is checked against that.
        if (folder / FILE).exists():
            return
        rows = data.fingerprint.rows
        if len(rows):
            write_table(folder / ROWS, rows)
        write_json(folder / FILE, self.model_dump())

    def check(self, data: Data, folder: Path) -> None:
        """Check that a run which began in a folder is made of what there is now.

        Args:
            data: the run's data.
            folder: the run's.

        Raises:
            ChangedDataError: if it is not; the message names what differs, and counts it where it can.
            DamagedFileError: if what it was made of cannot be read.
        """
        if differing := self.changes(data, folder):
            raise ChangedDataError(
                f"{'; '.join(differing)} since the run in {folder} began: give another folder with --out, "
                "or delete that one"
            )

    def changes(self, data: Data, folder: Path) -> list[str]:
        """Return what has changed since a run began, in words; nothing where no run has begun.

        Raises:
            DamagedFileError: if what it was made of cannot be read.
        """
        if not (folder / FILE).exists():
            return []
        there, differing = Provenance.read(folder), []
        if there.data != self.data:
            counted = counts(there.data, self.data, rows_of(folder), data.fingerprint.rows)
            differing.append(f"{data.name} changed ({counted})")
        before = there.parts
        replaced = [name for (kind, name), now in self.parts.items() if before.get((kind, name)) != now]
        return differing + [f"{name} changed" for name in replaced]

    @property
    def parts(self) -> dict[tuple[str, str], str]:
        """Return the digests of losses, weights and methods, by their kind and their name."""
        kinds = {"loss": self.loss, "weights": self.weights, "method": self.method}
        return {(kind, name): digest for kind, part in kinds.items() for name, digest in part.items()}


def rows_of(folder: Path) -> pl.DataFrame:
    """Return the checksums of the rows of a run's data; none for a world.

    Raises:
        DamagedFileError: if they cannot be read.
    """
    path, made_of = folder / ROWS, Provenance.read(folder)
    if not path.exists():
        return pl.DataFrame(schema=ROW_SCHEMA)
    parts = [part for part in made_of.data if part not in ("ids", "splits")]
    kinds = {"id": pl.Int64(), "split": pl.String()} | dict.fromkeys(parts, pl.UInt32())
    return read_table(path, kinds, remedy(folder))


def trained_on(folder: Path, data: Data) -> Rows:
    """Return the rows whose picture, file for file, a run was trained on, or one that it began from.

    Nothing is known of runs that are gone, and of data without checksums. Where the data has no pictures, the first
    column that is no text counts.

    Raises:
        DamagedFileError: if what is known cannot be read.
    """
    known = rows_of(folder).filter(pl.col("split").str.contains("train"))
    here = data.fingerprint.rows
    part = next((it for it in ("pictures", subject(data.columns) or "") if it in here), None)
    found = [trained_on(before, data) for before in _begun_from(folder)]
    if len(known) and len(here) and part is not None and part in known:
        found.append(np.flatnonzero(here[part].is_in(known[part].implode()).to_numpy()))
    return np.unique(np.concatenate([np.arange(0), *found]))


def _begun_from(folder: Path) -> set[Path]:
    """Return the folders of the runs that are still there of those whose weights a run began with."""
    if not is_run(folder):
        return set()
    runs = {run_of(path) for path in _weights_of(Run.read(folder))}
    return {run for run in runs if is_run(run)}


def _weights_of(run: Run) -> list[Path]:
    """Return where the weights are that a run begins with; those that are gone, or have only a name, have no place."""
    arm = Arm.parse(run.arm)
    towers = {**run.recipe.towers.names, **arm.towers}
    names = [
        name for it, tower in towers.items() for name in joined_names(tower, MODALITIES.get(it).tower_names)
    ]
    paths = [path for name in names if (path := _path_of(name)) is not None]
    origin = Path(arm.origin)
    return [*paths, origin] if arm.origin and origin.exists() else paths


def counts(before: Mapping[str, str], after: Mapping[str, str], old: pl.DataFrame, new: pl.DataFrame) -> str:
    """Return what differs between two states of a data set, counted by the ids of its rows.

    Args:
        before: the digests of the parts then.
        after: the digests now.
        old: the checksums of the rows then.
        new: the checksums now.
    """
    every = dict.fromkeys((*PARTS, QUESTIONS, *after, *before))
    parts = [part for part in every if before.get(part) != after.get(part)]
    if not (len(old) and len(new)):
        return f"{', '.join(parts)} differ"
    both = old.join(new, on="id", how="inner", suffix=" now", maintain_order="left")
    differences = []
    if gone := len(old) - len(both):
        differences.append(f"{gone} of {len(old)} rows are gone")
    if fresh := len(new) - len(both):
        differences.append(f"{fresh} rows are new")
    if moved := int((both["split"] != both["split now"]).sum()):
        differences.append(f"{moved} of {len(both)} rows are in another split")
    for part in every:
        if part not in old or part not in new:
            continue
        for side in ("test", "validation", "train"):
            of_side = both.filter(pl.col("split now").str.contains(side, literal=True))
            if differing := int((of_side[part] != of_side[f"{part} now"]).sum()):
                differences.append(f"{differing} of {len(of_side)} {side} {part} differ")
    return ", ".join(differences) or f"the order or the names of {', '.join(parts)} differ"


def _path_of(tower: str) -> Path | None:
    """Return where a tower's weights are; None where they have only a name, or are gone."""
    try:
        return TowerSource.parse(tower).path
    except ValueError:
        return None


def digest_of_weights(path: Path) -> str:
    """Return a digest of a file of weights, of a run's newest checkpoint, or of all files of a folder."""
    if path.is_file():
        return digest_of_file(path)
    checkpoint = latest_checkpoint(path / "checkpoint")
    if checkpoint is not None:
        return digest_of_file(checkpoint / "model.safetensors")
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return digest(f"{p.relative_to(path)} {digest_of_file(p)}".encode() for p in files)
