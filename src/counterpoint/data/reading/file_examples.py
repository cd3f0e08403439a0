"""The examples in a column's files as they are kept, and the way in which they are read at first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Int

from ...frames import Frames
from ...networks.base import Input
from ...types import Fit
from ..base import Rows
from ..pictures.traits import TraitsCache
from ..sources import Asset


class ReadOptions(NamedTuple):
    """The way in which a user's files are read before a tower says otherwise.

    Attributes:
        size: side of pictures, or the way to them that a tower asks for.
        hashed: pictures are hashed by how they look.
        most_pixels: of a picture; one of more is broken.
        traits: where hashes are kept; None where none are made.
    """

    size: int | Fit
    hashed: bool
    most_pixels: int
    traits: TraitsCache | None


@runtime_checkable
class FileExamples(Protocol):
    """The examples of a column's files, by their positions; at −1 there is none, and something neutral is read.

    Attributes:
        squares: the form is that of squares of pictures, so that what says where something is in a picture follows it.
        hashed: `ReadOptions.hashed` may say that they are hashed by how they look.
        form: in which they are read.
        digests: of each file's bytes; empty for a file that could not be read.
        unreadable: a file's position to why it is no example: a reason, a colon, and the details.
        whole: nothing of it can break any more.
    """

    squares: ClassVar[bool]
    hashed: ClassVar[bool]
    form: Any
    digests: list[str]
    unreadable: dict[int, str]
    whole: bool

    @classmethod
    def of(cls, files: Sequence[Asset], modality: str, options: ReadOptions) -> Self:
        """Read some files of a modality."""
        ...

    @classmethod
    def form_for(cls, input: Input, *, training: bool) -> Any:
        """Return the form in which a tower's input wants files to be read; None where it does not matter."""
        ...

    def read(self, positions: Rows) -> Any:
        """Return the raw form of some files' examples."""
        ...

    def cuts(self, positions: Rows) -> Frames:
        """Return where in the whole upright pictures of some files the raw form lies; the whole of what is no picture.

        See `counterpoint.frames`.
        """
        ...

    def cuts_of(self, examples: Sequence[Any]) -> Frames:
        """Return where in their whole upright pictures some decoded examples lie, as `cuts` does."""
        ...

    def decode(self, data: bytes) -> Any:
        """Return the example in the bytes of a further file, which is read as these are.

        Raises:
            OSError, ValueError: if it is none, or cannot stand beside these.
        """
        ...

    def pack(self, examples: Sequence[Any]) -> Any:
        """Return decoded examples as one raw form."""
        ...

    @staticmethod
    def why(error: Exception) -> str:
        """Return the reason why a file is no example, in the same words for all that have it."""
        ...

    def encoded(self, position: int) -> bytes:
        """Return the bytes of a file."""
        ...

    def formed(self, form: Any) -> Self:
        """Return the same examples read in another form."""
        ...


@runtime_checkable
class SizedExamples(Protocol):
    """The examples of files that are pictures, or that are of the size of pictures."""

    @property
    def sizes(self) -> Int[np.ndarray, "n 2"]:
        """Height and width of each in pixels; 0 where they are not known."""
        ...
