"""The model of Resemblyzer."""

from __future__ import annotations

from typing import ClassVar

from ._packaged import PackageLoader


class Resemblyzer(PackageLoader):
    """The encoder of voices of Resemblyzer."""

    form: ClassVar[str] = "resemblyzer:ge2e@package or resemblyzer:ge2e@PATH"
    library = "resemblyzer"
