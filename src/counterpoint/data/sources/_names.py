"""Names that mean something in everybody's files: of columns, of splits, of kinds of files."""

from __future__ import annotations

import re

PICTURE_COLUMNS = ("file_name", "image", "image_path", "filepath", "path", "file")
CAPTION_COLUMNS = ("text", "caption", "captions", "title")
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    "test": "test",
}
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".svg"}


def split_of(name: str) -> str | None:
    """Return the split that a file's or a folder's name begins with.

    >>> split_of("val-00000-of-00002.parquet"), split_of("trainable.csv"), split_of("Test")
    ('validation', None, 'test')
    """
    word = re.split(r"[^a-z]", name.lower(), maxsplit=1)[0]
    return SPLITS.get(word)
