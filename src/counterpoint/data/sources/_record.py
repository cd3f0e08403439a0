"""The one form that every source is read into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

CAPTION_COLUMNS = ("text", "caption", "captions", "title")
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    "test": "test",
}
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


@runtime_checkable
class StoredFile(Protocol):
    """The bytes of a file: a path, a member of an archive. As a text it is the name that the user knows."""

    def read_bytes(self) -> bytes:
        """Read the whole file."""
        ...


@dataclass(frozen=True)
class Record:
    """One picture with its captions: the schema every source is read into."""

    id: int
    picture: StoredFile
    captions: tuple[str, ...]
    split: str | None
    labels: Mapping[str, str]
