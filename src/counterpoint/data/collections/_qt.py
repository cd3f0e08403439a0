"""Qt's resource files: one file that holds many."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from ..sources import Asset


@dataclass(frozen=True)
class Resource:
    """One file in a Qt resource file.

    Attributes:
        archive: the resource file.
        offset, size: of its bytes there.
        packed: they are compressed by zlib, after four bytes with the length.
    """

    archive: Path
    offset: int
    size: int
    packed: bool

    def read(self) -> bytes:
        """Read the file's bytes."""
        raw = Asset(str(self.archive), "", self.offset, self.size).read_bytes()
        return zlib.decompress(raw[4:]) if self.packed else raw


def resources(archive: Path) -> dict[str, Resource]:
    """Return the files in a Qt resource file, by path.

    The header names where the tree, the data and the names begin. A node of the tree is a folder (its children's count
    and first number follow) or a file (the place of its length and bytes in the data).

    Raises:
        ValueError: if it is none, cut short, or holds files that are packed by Zstandard, as newer tools may.
    """
    raw = archive.read_bytes()
    files: dict[str, Resource] = {}

    def walk(node: int, above: str) -> None:
        offset = tree + node * width
        name, flags = struct.unpack_from(">IH", raw, offset)
        path = above
        if node:
            (length,) = struct.unpack_from(">H", raw, names + name)
            start = names + name + 6  # after the length come four bytes of a hash
            path = f"{above}/{raw[start : start + 2 * length].decode('utf-16-be')}"
        if flags & 2:
            count, first = struct.unpack_from(">2I", raw, offset + 6)
            for child in range(first, first + count):
                walk(child, path)
        elif flags & 4:
            raise ValueError(f"{path} is packed by Zstandard, which is not read")
        else:
            (start,) = struct.unpack_from(">I", raw, offset + 10)
            (size,) = struct.unpack_from(">I", raw, data + start)
            files[path] = Resource(archive, data + start + 4, size, bool(flags & 1))

    try:
        if raw[:4] != b"qres":
            raise ValueError("it does not begin as one")
        version, tree, data, names = struct.unpack_from(">4I", raw, 4)
        width = 22 if version > 1 else 14
        walk(0, "")
    except (struct.error, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"{archive} cannot be read as a Qt resource file: {error}") from error
    return files
