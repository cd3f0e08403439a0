"""Pairs in a folder: pictures with a text file of the same name beside each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ._record import PICTURES, Record


def read(folder: Path) -> Iterable[Record]:
    pictures = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES)
    texts = [(p, p.with_suffix(".txt")) for p in pictures]
    found = [(p, t) for p, t in texts if t.exists()]
    if not found:
        raise ValueError(
            f"{folder}: expected a metadata.csv (or .jsonl, .parquet) with columns file_name and text, "
            "or pictures with a .txt caption beside each, or .tar shards"
        )
    for number, (picture, text) in enumerate(found):
        captions = tuple(
            line.strip() for line in text.read_text(encoding="utf-8").splitlines() if line.strip()
        )
        if not captions:
            raise ValueError(f"{text} is empty: every picture needs a caption")
        yield Record(number, picture, captions, None, {})
