"""Models of transformers."""

from __future__ import annotations

from typing import ClassVar

from ._folder import opened
from ._kind import Kind
from ._pretrained import Pretrained, pretrained


class Transformers(Kind):
    """A dual encoder of transformers, or one of texts, whose token states are pooled as its kind is."""

    form: ClassVar[str] = "transformers:PATH or transformers:NAME@hub"

    def load(self, name: str) -> Pretrained:
        source, place, command = opened(self, f"transformers:{name}")
        return pretrained(source, command, place.context)
