"""Pictures in a folder: with a text file of the same name beside each, or all without."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import final

from ...modalities import PAIR
from ...reasons import counted
from ._asset import Asset
from ._ledger import Ledger
from ._names import PICTURES
from ._options import Options
from ._places import state_of
from ._record import Cell, Record, Records
from ._source import Shard, Source
from ._text import caption_lines, decoded
from .tables.table import Table

_CLASSES = range(2, 201)


@final
class Folder(Source):
    """Pictures in a folder and in those below it, with a text of the same name beside each, or all without."""

    precedence = 4

    def recognises(self, written: str) -> bool:
        return Path(written).is_dir()

    def shards(self, written: str, options: Options, ledger: Ledger) -> list[Shard]:
        return [Shard("pictures", written, "folder", state_of(_files(Path(written))), options)]

    def open(self, shard: Shard, ledger: Ledger) -> Records:
        """Read the pictures of a folder and of those below it that have a text beside them, or all if none has.

        Of a picture that is there in pixels and as a drawing (SVG), the pixels are read. If every picture lies in a
        folder of its kind (``cat/1.jpg``), that folder's name becomes the label ``folder``.

        Raises:
            ValueError: if there are no pictures, or texts or tables that belong to none.
        """
        path = Path(shard.place)
        files = list(_files(path))
        pictures = [file for file in files if file.suffix.lower() in PICTURES]
        pixels = {_stem(path) for path in pictures if path.suffix.lower() != ".svg"}
        pictures = [path for path in pictures if path.suffix.lower() != ".svg" or _stem(path) not in pixels]
        texts = {_stem(file): file for file in files if file.suffix.lower() == ".txt"}
        tables = [file.name for file in files if file.suffix.lower() in Table.suffixes]
        without = not texts and not tables
        pairs = [(p, texts.get(_stem(p))) for p in pictures if without or _stem(p) in texts]
        if not pairs:
            alone = f"; of {counted(len(pictures), 'picture')} there none has one" if pictures else ""
            if tables:
                alone = f"; give the path of {tables[0]} if that is the table"
            raise ValueError(
                f"{path}: expected a metadata.csv (or .jsonl, .parquet) with columns file_name and text, "
                f"or pictures with a .txt caption beside each, or .tar shards{alone}"
            )
        used = {path for both in pairs for path in both}
        for file in files:
            if file not in used:
                suffix = file.suffix.lower()
                reason = "picture without a caption" if suffix in PICTURES else f"{suffix or file.name} file"
                if suffix == ".svg" and _stem(file) in pixels:
                    reason = "drawing of a picture that is there in pixels"
                ledger.add("passed over", "text without a picture" if suffix == ".txt" else reason, file)
        columns = {"image": "image"} if without else PAIR
        return Records.collect(_records(path, pairs, ledger), columns)


def _records(folder: Path, pairs: list[tuple[Path, Path | None]], ledger: Ledger) -> Iterator[Record]:
    kinds = [picture.relative_to(folder).parts[:-1] for picture, _ in pairs]
    counts = Counter(kind[0] if kind else "" for kind in kinds)
    classes = "" not in counts and len(counts) in _CLASSES and min(counts.values()) > 1
    for (picture, text), kind in zip(pairs, kinds, strict=True):
        captions: tuple[str, ...] = ()
        if text is not None:
            captions = caption_lines(decoded(text.read_bytes(), ledger, text), ledger, text)
            if not captions:
                ledger.add("lost", "empty caption", text)
                continue
        key = picture.relative_to(folder).as_posix()
        labels = {"folder": kind[0]} if classes else {}
        cells: dict[str, Cell] = {"image": Asset.of(picture), "text": captions}
        yield Record(cells, key, labels=labels, where=str(picture))


def _files(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder in order, but hidden ones."""
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in sorted(names) if not name.startswith("."))


def _stem(path: Path) -> Path:
    return path.with_suffix("")
