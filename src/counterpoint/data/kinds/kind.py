"""Data as a user wrote it: what every kind can do."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from ...types import Fit
from ..base import Data
from ..sources import Ledger, Records, SourceOptions


@dataclass(frozen=True)
class DataResolver(ABC):
    """A kind of data, as a user wrote it: ``stamps:FOLDER,language=de``: ``stamps:``, ``FOLDER`` and ``,language=de``.

    Attributes:
        source: all of it.
        head: the name of a benchmark or a collection, with its colon, or all of a name that is none of a file's
            (``hf:NAME``); empty before a mere path.
        path: a path, a URL or a pattern; None where there is none, as the data is found by its name alone.
        rest: whatever follows the path, with its mark: the name in a file of Python, options.
    """

    source: str
    head: str = ""
    path: str | None = None
    rest: str = ""

    @property
    def name(self) -> str:
        """The text before the first colon or comma."""
        return name_of(self.source)

    def at(self, path: str) -> str:
        """Return what the user would have written with another path."""
        return f"{self.head}{path}{self.rest}"

    @abstractmethod
    def open(self, form: int | Fit) -> Data:
        """Open the data, its pictures of a form.

        Raises:
            ValueError: if there is nothing that can be used; the message says what was expected.
        """

    @property
    def options(self) -> SourceOptions:
        """The user's word on how files are read."""
        return SourceOptions()

    def records(self, ledger: Ledger) -> Records | None:
        """Read the data as records, whatever is wrong with it; None where it is opened in other ways.

        Args:
            ledger: is told what is left out.
        """
        return None

    def some_records(self, ledger: Ledger) -> tuple[Records | None, float]:
        """Read a part of what is too much to be read at once, else all of it, as `records`; and the share read."""
        return self.records(ledger), 1.0


def name_of(source: str) -> str:
    """Return the text before the first colon or comma of what a user wrote."""
    return re.split("[:,]", source, maxsplit=1)[0]
