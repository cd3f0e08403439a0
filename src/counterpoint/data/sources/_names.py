"""Names that mean something in everybody's files: of columns, of splits, of kinds of files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ...modalities import MODALITIES

PICTURE_COLUMNS = ("file_name", "image", "image_path", "filepath", "path", "file")
SOUND_COLUMNS = ("audio", "audio_path", "sound", "audiocap_path", "wav")
CAPTION_COLUMNS = ("text", "caption", "captions", "title", "transcript", "transcription")
CONVERSATIONS: tuple[dict[str, tuple[str, ...]], ...] = (
    {"talk": ("question", "answer")},
    {"talk": ("prompt", "chosen"), "rejected": ("prompt", "rejected")},
)
"""Columns of conversations, each with the usual names of the columns that hold requests and replies beside files.

The columns behind the first one are other replies to the same requests.
"""
_CAPTIONS = ("caption", "text", "transcript", "transcription", "sentence", "title", "name")
"""Words in names of columns that hold captions, the likeliest first."""
_OTHERS = {
    *("file", "path", "id", "url", "user", "author", "artist", "creator", "folder", "dir"),
    *("class", "category", "label", "split", "group", "license", "licence"),
}
"""Words in names of columns that hold no captions, whatever other words are there."""
CORPORA: tuple[dict[str, str], ...] = (
    {"audio": "path", "text": "sentence", "group": "client_id"},  # Common Voice
    {"audio": "path", "text": "transcription", "group": "speakerId"},  # Fluent Speech Commands
    {"audio": "youtube_id", "text": "caption", "id": "audiocap_id"},  # AudioCaps
)
"""The columns of public tables of sounds by what they are for; a table that has all of one of these is such a one."""
TEXT_ENDINGS = (".txt", ".caption")
"""Endings of files with the captions of the file of the same name beside them."""
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    "test": "test",
}
PICTURES = MODALITIES.get("image").endings


def split_of(name: str) -> str | None:
    """Return the split that a file's or a folder's name begins with.

    >>> split_of("val-00000-of-00002.parquet"), split_of("trainable.csv"), split_of("Test")
    ('validation', None, 'test')
    """
    word = re.split(r"[^a-z]", name.lower(), maxsplit=1)[0]
    return SPLITS.get(word)


def split_folders(folder: Path) -> dict[Path, str]:
    """Return the folders in a folder that are called after splits, each with its split."""
    # Names first, as a folder may hold very many files.
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return {
        folder / name: side
        for name in names
        if name.isalpha() and (side := split_of(name)) and (folder / name).is_dir()
    }


def is_divided(folder: Path) -> bool:
    """Return whether a folder in a folder is called after another split than ``train``, which alone says nothing."""
    return any(side != "train" for side in split_folders(folder).values())


def caption_rank(column: str) -> int | None:
    """Return how likely a column holds captions by its name, 0 for the likeliest; None if its name does not say so.

    >>> caption_rank("alt_text"), caption_rank("Food Name"), caption_rank("userName"), caption_rank("Local names")
    (1, 6, None, None)
    """
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", column)}
    if words & _OTHERS:
        return None
    return next((rank for rank, word in enumerate(_CAPTIONS) if word in words), None)


def modality_of(names: Iterable[str]) -> str | None:
    """Return the modality that the endings of most files' names are of; None where they say nothing.

    >>> modality_of(["a.wav", "b.flac", "c"]), modality_of(["a.png"]), modality_of(["a"])
    ('audio', 'image', None)
    """
    endings = {ending: modality.name for modality in MODALITIES for ending in modality.endings}
    counts = Counter(endings.get(PurePosixPath(name).suffix.lower()) for name in names)
    del counts[None]
    return counts.most_common(1)[0][0] if counts else None
