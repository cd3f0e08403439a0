"""Models of Resemblyzer."""

from __future__ import annotations

from typing import ClassVar

from ..networks.weights import Source
from ._kind import Kind
from ._pretrained import Pretrained, pretrained


class Resemblyzer(Kind):
    """An encoder of voices of Resemblyzer."""

    form: ClassVar[str] = "resemblyzer:ge2e@package or resemblyzer:ge2e@PATH"

    def towers(self, name: str) -> str:
        return f"resemblyzer:{name}"

    def load(self, name: str) -> Pretrained:
        source = Source.parse(f"resemblyzer:{name}")
        if source.weights is None:
            raise ValueError(f"{source} names no weights; write {self.form}")
        return pretrained(source)
