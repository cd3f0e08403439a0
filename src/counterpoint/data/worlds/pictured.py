"""Worlds of something else as pictures, for towers, methods and tasks of pictures."""

from __future__ import annotations

from typing import TypeVar

from ...registry import unknown
from ...spec import Spec
from ..base import PairedData
from .config import WorldConfig
from .world import World

C = TypeVar("C", bound=WorldConfig)
R = TypeVar("R")
AS_PICTURES = "as=pictures"


def asked_as(source: str) -> tuple[Spec, bool]:
    """Return the world that is written without ``as=pictures``, and whether that was there.

    >>> asked_as("sounds:basic,train=9,as=pictures")
    (Spec(name='sounds:basic', options={'train': '9'}), True)

    Raises:
        UnknownName: for another form.
    """
    spec = Spec.parse(source)
    options = dict(spec.options)
    form = options.pop("as", None)
    if form not in (None, "pictures"):
        raise unknown(f"form of {spec.name.partition(':')[0]}", str(form), ("pictures",))
    return Spec(spec.name, options), form is not None


class AsPictures(World[C, R], PairedData):
    """Rows of a world whose name ends in ``as=pictures``: a picture of each, and its captions."""

    def made_of(self) -> str:
        # Runs of earlier versions, in which these worlds were always pictures, kept a digest of this.
        return super().made_of().replace(f",{AS_PICTURES}", "", 1)
