"""The form of a source: a file of this room holds one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from ._ledger import Ledger
from ._record import Records


class Source(ABC):
    """A kind of file, or of folder, that holds pairs.

    Attributes:
        suffixes: of its files, in small letters; none for a source that is a folder.
    """

    suffixes: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def read(self, path: Path, ledger: Ledger) -> Records:
        """Read a file, or a folder of such files.

        Args:
            path: of it.
            ledger: is told what is left out.

        Raises:
            ValueError: if it cannot be read, or contradicts itself; the message names the file and the row.
        """
