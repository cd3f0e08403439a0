"""Models of fracast."""

from __future__ import annotations

from typing import ClassVar

from ..networks.weights import Source
from ._kind import Kind
from ._pretrained import Pretrained, pretrained


class Fracast(Kind):
    """An encoder of series of fracast."""

    form: ClassVar[str] = "fracast:fracast-0@package or fracast:fracast-0@PATH"

    def towers(self, name: str) -> str:
        return f"fracast:{name}"

    def load(self, name: str) -> Pretrained:
        source = Source.parse(f"fracast:{name}")
        if source.weights is None:
            raise ValueError(f"{source} names no weights; write {self.form}")
        return pretrained(source)
