"""Worlds of something else as pictures, for towers, methods and tasks of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from ...registry import unknown
from ...spec import Spec
from ..pictured import PairedData
from .config import WorldConfig
from .preset import Preset, preset_of
from .world import SyntheticData

C = TypeVar("C", bound=WorldConfig)
R = TypeVar("R")


def asked_as(source: str) -> tuple[Spec, bool]:
    """Return the world that is written without ``as=pictures``, and whether that was there.

    >>> asked_as("sounds:basic,train=9,as=pictures")
    (Spec(name='sounds:basic', options={'train': '9'}), True)

    Raises:
        UnknownNameError: for another form.
    """
    spec = Spec.parse(source)
    options = dict(spec.options)
    form = options.pop("as", None)
    if form not in (None, "pictures"):
        raise unknown(f"form of {spec.name.partition(':')[0]}", str(form), ("pictures",))
    return Spec(spec.name, options), form is not None


def written_as(source: str, presets: Mapping[str, Preset[C]], world: Any, pictures: Any) -> Any:
    """Return a world as it is written: ``NAME:PRESET``, then options after commas; as pictures with ``as=pictures``.

    Args:
        source: what is written.
        presets: by name.
        world: the class of the world.
        pictures: the class of the same rows as pictures.

    Raises:
        UnknownNameError: for an unknown preset or option.
        ValueError: for a value that an option cannot have, or an option without one.
    """
    spec, pictured = asked_as(source)
    return pictures.parse(source) if pictured else world(preset_of(spec, presets), str(spec))


class AsPictures(SyntheticData[C, R], PairedData):
    """Rows of a world whose name ends in ``as=pictures``: a picture of each, and its captions."""

    @classmethod
    def parse(cls, source: str) -> Self:
        return cls(preset_of(asked_as(source)[0], cls.presets), str(Spec.parse(source)))
