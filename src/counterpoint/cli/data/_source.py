"""The part that actions on a data set have in common: which one, and how its files are read."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass as form

from ...data.kinds.written import WRITTEN
from ...data.named import check_named
from ...forms import FORM, FlatField, Positional
from ..common.files import FileOptions


@form(frozen=True, config=FORM, kw_only=True)
class DatasetOptions:
    """Data set that an action is about."""

    # The help of fields that other forms inherit is given in full: the text below a field stays with its own class.
    source: Annotated[str, Positional(), Field(description=WRITTEN)] = "emoji"
    files: Annotated[FileOptions, FlatField()] = field(default_factory=FileOptions)

    @property
    def named(self) -> str:
        """Return the name of the data with the options of its files; data that does not exist is refused."""
        named = self.files.of(self.source)
        check_named(named)
        return named
