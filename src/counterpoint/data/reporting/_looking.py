"""Looking at pictures in files: in this process, or as units of work that others share, resumed if killed.

A unit looks at a stretch of the files, and writes what it saw into its own folder, whole or not at all. The folders lie
in one of the cache, whose name tells these files in this state: a report on the same finds there what was seen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, final

import polars as pl

from ...execution import Executor, Listener, OnProgress, ResourceRequest, UnitProgress, WorkHandover, WorkList
from ...files import read_table
from ...reasons import counted
from ..cache import cache_folder, writing
from ..pictures.squares import BROKEN, quietly, why
from ..pictures.traits import SCHEMA, VERSION, Traits, TraitsCache, traits_of
from ..sources import PLACES, Asset, is_url, state_of

AT_ONCE = 64
"""Pictures that are in hand at once."""
_FEW, _MOST = 1_000, 20_000  # pictures of a unit
_UNITS = 32  # units at least, where there are pictures enough
_FILES, _LOOKS = "files.parquet", "looks.parquet"
_PLACES = {each.name: each.dtype for each in PLACES.fields}
_SEEN = SCHEMA | {"reason": pl.String(), "detail": pl.String()}


@final
@dataclass(frozen=True)
class FileScan:
    """A file, of a picture unless said otherwise, that was looked at.

    Attributes:
        row: of the data.
        digest: of its bytes; empty where they could not be read.
        traits: None where it is no picture that is read, or was drawn here.
        hash: of how it looks; None where it is no picture.
        broken: the reason and the details, where nothing can be read from it.
        length: of what is a sequence, in the unit of its modality; 0 for a picture.
        flat: of what is a sequence, that it is the same all along.
    """

    row: int
    digest: bytes
    traits: Traits | None = None
    hash: bytes | None = None
    broken: tuple[str, str] | None = None
    length: float = 0.0
    flat: bool = False


def scan(files: Sequence[Asset], most: int) -> Iterator[FileScan]:
    """Look at pictures of at most so many pixels; what is known of a file is not found again."""

    def one(file: Asset) -> FileScan:
        try:
            data = file.read_bytes()
        except OSError as error:
            return FileScan(-1, b"", broken=(BROKEN, error.strerror or str(error)))
        digest = hashlib.blake2b(data, digest_size=16).digest()
        try:
            traits = kept.get(digest)
            if traits is None or traits.pixels > most:  # kept under another limit, perhaps
                traits = traits_of(data, most)
        except Exception as error:  # whatever a decoder raises is why there is no picture
            return FileScan(
                -1, digest, broken=(why(error), " ".join(str(error).split()) or type(error).__name__)
            )
        return FileScan(-1, digest, traits, traits.hash)

    with quietly(), TraitsCache() as kept, ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        for start in range(0, len(files), AT_ONCE):
            for look in pool.map(one, files[start : start + AT_ONCE]):
                if look.traits is not None:
                    kept.add(look.digest, look.traits)
                yield look


@final
@dataclass(frozen=True)
class FileScanUnit:
    """The unit of work that looks at a stretch of pictures; its folder has the list of them.

    Attributes:
        most: pixels of a picture; one of more is broken.
        folder: the unit's own.
        needs: of the unit.
    """

    most: int
    folder: Path
    needs: ResourceRequest = field(default_factory=ResourceRequest)

    lighter: ClassVar[str] = "a lower --max-pixels needs less memory"

    @property
    def key(self) -> str:
        return f"pictures {self.folder.name}"

    @property
    def files(self) -> list[Asset]:
        """The pictures that are looked at."""
        path = self.folder / _FILES
        return [Asset(*row) for row in read_table(path, _PLACES, f"delete {path.parents[1]}").iter_rows()]

    def read(self) -> list[FileScan] | None:
        path = self.folder / _LOOKS
        if not path.exists():
            return None
        return [
            _scan_of(*row) for row in read_table(path, _SEEN, f"delete {path}").select(*_SEEN).iter_rows()
        ]

    def work(self, on_progress: OnProgress) -> list[FileScan]:
        files, seen = self.files, list[FileScan]()
        for look in scan(files, self.most):
            seen.append(look)
            if len(seen) % AT_ONCE == 0:
                on_progress(UnitProgress(len(seen), len(files)))
        with writing(self.folder / _LOOKS) as part:
            pl.DataFrame(map(_row, seen), schema=_SEEN, orient="row").write_parquet(part)
        return seen

    def outcome(self, result: list[FileScan]) -> str:
        return f"{counted(len(result), 'picture')} looked at"

    def plain(self) -> dict[str, Any]:
        return {"most": self.most}

    @classmethod
    def parse(cls, plain: dict[str, Any], folder: Path, needs: ResourceRequest) -> FileScanUnit:
        return cls(**plain, folder=folder, needs=needs)


def looks_of_units(
    files: Sequence[Asset], most: int, *, executor: Executor, needs: ResourceRequest, listener: Listener
) -> list[FileScan]:
    """Look at pictures of at most so many pixels by units of work; what others have seen is not looked at again.

    Args:
        files: of the pictures.
        most: pixels of one.
        executor: where they are looked at.
        needs: of those who look.
        listener: is told of progress.

    Raises:
        WorkHandover: if others look at them, after this process.
    """
    several = max(_FEW, min(_MOST, len(files) // _UNITS))
    stretches = {
        f"{start + 1}-{start + len(some)}": _listed(some)
        for start in range(0, len(files), several)
        for some in [files[start : start + several]]
    }
    folder = cache_folder() / "descriptions" / _named(stretches.values(), most)
    units = []
    for name, listed in stretches.items():
        units.append(FileScanUnit(most, folder / name, needs))
        if not (units[-1].folder / _FILES).exists():
            with writing(units[-1].folder / _FILES) as part:
                listed.write_parquet(part)
    title = "looking at pictures"
    WorkList.of(title, units, folder).write(folder)
    listener.begin(title, units)
    try:
        seen = executor.carry_out(units, listener, folder)
    except WorkHandover as handed:
        raise WorkHandover(
            f"{handed}\nwhen all is seen, the same command shows the report; counterpoint work {folder} takes part"
        ) from handed
    for unit, listed, unit_looks in zip(units, stretches.values(), seen, strict=True):
        # What could not be read may be there the next time, and what is in a store may have changed unseen.
        if not all(look.digest for look in unit_looks) or any(map(is_url, listed["file"].unique())):
            (unit.folder / _LOOKS).unlink(missing_ok=True)
    return [look for unit_looks in seen for look in unit_looks]


def _listed(files: Sequence[Asset]) -> pl.DataFrame:
    """Return places as a table that means the same in whatever folder it is read."""
    rows = [(f if is_url(f) else os.path.abspath(f), *rest) for f, *rest in map(astuple, files)]
    return pl.DataFrame(rows, schema=_PLACES, orient="row")


def _named(stretches: Iterable[pl.DataFrame], most: int) -> str:
    """Return a name for files in their present states."""
    hasher = hashlib.blake2b(f"{VERSION} {most}".encode(), digest_size=12)
    for listed in stretches:
        for row in listed.iter_rows():
            hasher.update(repr(row).encode())
        for file in listed["file"].unique(maintain_order=True):
            hasher.update(_state(file).encode())
    return hasher.hexdigest()


def _state(file: str) -> str:
    """Return a text that changes when a file does; nothing of one that is not on this machine's disks."""
    try:
        return state_of([file])
    except OSError:
        return ""


def _row(scanned: FileScan) -> tuple[Any, ...]:
    traits = [None] * (len(SCHEMA) - 1) if scanned.traits is None else asdict(scanned.traits).values()
    return (scanned.digest, *traits, *(scanned.broken or (None, None)))


def _scan_of(digest: bytes, *values: Any) -> FileScan:
    *of_picture, reason, detail = values
    if reason is not None:
        return FileScan(-1, digest, broken=(reason, detail))
    traits = Traits(*of_picture)
    return FileScan(-1, digest, traits, traits.hash)
