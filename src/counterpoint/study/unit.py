"""Unit of a study's work: a training run, or questions to a model."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

from ..data.base import Data
from ..execution import Unit
from ..training.record.provenance import Provenance

T = TypeVar("T")


@runtime_checkable
class StudyUnit(Unit[T], Protocol[T]):
    """Unit that knows what it is made of, and whether its files can be read."""

    def made_of(self, data: Data) -> Provenance:
        """Return the provenance that the unit would have if the unit began now."""
        ...

    def check_files(self) -> None:
        """Read all that the unit has so far.

        Raises:
            DamagedFileError: for a file that cannot be read.
        """
