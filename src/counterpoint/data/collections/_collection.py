"""The form of a collection: a file of this room holds one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from ...modalities import PAIR
from ...registry import MissingPackageError
from ..sources import Ledger, Records


class Collection(ABC):
    """Pictures with words in a package of Debian.

    Attributes:
        package: its name, for ``apt-get install``.
        home: where it installs what is read.
        attribution: the licence line that stands wherever examples are shown.
        language: of the captions unless another one is asked for; empty where there is one alone.
        columns: that it can be read as, each with its modality.
    """

    package: ClassVar[str]
    home: ClassVar[Path]
    attribution: ClassVar[str]
    language: ClassVar[str] = ""
    columns: ClassVar[Mapping[str, str]] = PAIR

    def usual(self, root: Path, language: str) -> tuple[str, ...]:
        """Return the columns that it is read as unless others are asked for.

        Args:
            root: what the package installs at ``home``.
            language: that was asked for; empty where none was.
        """
        return tuple(PAIR)

    @abstractmethod
    def read(self, root: Path, language: str, columns: Sequence[str], ledger: Ledger) -> Records:
        """Read the pictures that have a caption in a language, or, as other columns than these, all of them.

        Args:
            root: what the package installs at ``home``.
            language: of the captions.
            columns: to read, of those that there are.
            ledger: is told what is left out.

        Raises:
            ValueError: for a language that no caption is in; the message names those that there are.
        """

    def located(self, folder: Path | None) -> Path:
        """Return where the collection is.

        Args:
            folder: that the user named: what ``home`` is installed as, or the folder that a package was unpacked into.

        Raises:
            MissingPackageError: if it is not installed; the message is the command that installs it.
            FileNotFoundError: if it is not in the folder.
        """
        name = type(self).__name__.lower()
        if folder is None:
            if self.home.is_dir():
                return self.home
            raise MissingPackageError(
                f"{name}: there is no {self.home}; run: apt-get install {self.package}, or unpack that package "
                f"(apt-get download {self.package}; dpkg-deb -x {self.package}_*.deb FOLDER) and write {name}:FOLDER"
            )
        inside = folder / self.home.relative_to("/")
        root = inside if inside.is_dir() else folder
        if not root.is_dir():
            raise FileNotFoundError(f"{name}: there is no folder {folder}")
        return root
