"""The model of fracast."""

from __future__ import annotations

from typing import ClassVar

from ._packaged import PackageLoader


class Fracast(PackageLoader):
    """The encoder of series of fracast."""

    form: ClassVar[str] = "fracast:fracast-0@package or fracast:fracast-0@PATH"
    library = "fracast"
