"""Data with pictures, alone or with captions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from ..modalities import PAIR
from ..networks.base import Input
from ..networks.towers.parts.pixels import Square
from ..registry import unknown
from ..types import Fit
from .base import Data, Rows
from .fingerprint import QUESTIONS, digests_of_images
from .pictures.decode import MOST_PIXELS
from .pictures.sheet import store_picture


class PictureData(Data):
    """Examples with a picture each, in the column ``image``, that can be had at the size that a tower asks for.

    Attributes:
        most_pixels: that memory is taken for to decode a picture; one of more is broken.
    """

    columns: Mapping[str, str] = MappingProxyType({"image": "image"})
    most_pixels: int = MOST_PIXELS

    def read(self, column: str, rows: Rows) -> Any:
        if column == "image":
            return self.images(rows)
        raise unknown(f"column of {self.name}", column, self.columns)

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        shown = inputs.get("image")
        if not isinstance(shown, Square):
            return self
        if shown.fit is None or training:
            return self.sized(shown.size, shown.fit)
        return self.fitted(shown.fit)

    @abstractmethod
    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        """Return the pictures of some rows, all of one size."""

    def encoded(self, row: int) -> bytes:
        """Return a row's picture as a file: its own where there is one, else a PNG of what is drawn.

        Raises:
            OSError: for a file that cannot be read any more.
        """
        return store_picture(self.images(np.array([row])))[1]

    def file(self, column: str, row: int) -> tuple[str, bytes]:
        return ("", self.encoded(row)) if column == "image" else super().file(column, row)

    def shown(self, row: int, side: int) -> Image.Image:
        """Return a row's picture for people to look at, at most ``side`` pixels a side; of a file all of it.

        Raises:
            OSError: for a file that cannot be read any more.
        """
        picture = Image.fromarray(self.images(np.array([row]))[0].permute(1, 2, 0).numpy())
        picture.thumbnail((side, side))
        return picture

    def fitted(self, fit: Fit) -> Self:
        """Return the same data with pictures, for evaluation, exactly as ``fit`` resizes them.

        Itself where pictures are square and can be drawn at any size.
        """
        return self

    def _digest_parts_of(self, column: str) -> Iterator[bytes]:
        return iter(self.picture_digests()) if column == "image" else super()._digest_parts_of(column)

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        return {"pictures": self.picture_digests()}

    def picture_digests(self) -> Sequence[bytes]:
        """Return a digest of every row's picture: of the decoded picture, or of the file where there is one."""
        return digests_of_images(self.images, len(self))


class PairedData(PictureData):
    """Examples with a picture and one or more captions: the columns ``image`` and ``text``."""

    columns: Mapping[str, str] = MappingProxyType(PAIR)

    def read(self, column: str, rows: Rows) -> Any:
        if column == "text":
            return [self.evaluation_captions(int(row))[0] for row in rows]
        return super().read(column, rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        if column == "text":
            return [self.training_captions(int(row)) for row in rows]
        return self.read(column, rows)

    @abstractmethod
    def captions(self, row: int) -> Sequence[str]:
        """Return every caption of a row; the first is the one evaluation uses unless the data says otherwise."""

    def training_captions(self, row: int) -> Sequence[str]:
        """Return the captions that a text view draws from in training."""
        return self.captions(row)

    def evaluation_captions(self, row: int) -> Sequence[str]:
        """Return the captions that count as correct for a row in evaluation."""
        return self.captions(row)[:1]

    def evaluation_texts(self, column: str, row: int) -> Sequence[str]:
        return self.evaluation_captions(row) if column == "text" else super().evaluation_texts(column, row)

    def questions_about(self, row: int) -> Sequence[str]:
        """Return what is asked about a row beside its captions: questions, options, answers, kinds."""
        return ()

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        held = {
            "captions": [_texts_of(self, row) for row in range(len(self))],
            "pictures": self.picture_digests(),
        }
        questions = ["\0".join(self.questions_about(row)).encode() for row in range(len(self))]
        return {**held, QUESTIONS: questions} if any(questions) else held

    def describe(self) -> dict[str, dict[str, Any]]:
        words = [len(self.captions(row)[0].split()) for row in range(len(self))]
        return super().describe() | {
            "captions": {
                "words, median": int(np.median(words)),
                "words, fewest": min(words),
                "words, most": max(words),
            },
        }


def _texts_of(data: PairedData, row: int) -> bytes:
    """Return every text of a row, those of evaluation and those of training."""
    texts = (*data.evaluation_captions(row), "", *data.captions(row), *data.training_captions(row))
    return "\0".join(dict.fromkeys(texts)).encode("utf-8", "surrogatepass")
