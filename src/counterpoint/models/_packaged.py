"""The form of the kinds of libraries with one model, which comes as a package."""

from __future__ import annotations

from typing import ClassVar

from ..networks.weights import TowerSource
from ._kind import ModelLoader
from ._pretrained import Pretrained, pretrained


class PackageLoader(ModelLoader):
    """A model of its library's package, or of a file like the package's.

    Attributes:
        library: as towers name it.
    """

    library: ClassVar[str]

    def towers(self, name: str) -> str:
        return f"{self.library}:{name}"

    def load(self, name: str) -> Pretrained:
        source = TowerSource.parse(self.towers(name))
        if source.weights is None:
            raise ValueError(f"{source} names no weights; write {self.form}")
        return pretrained(source)
