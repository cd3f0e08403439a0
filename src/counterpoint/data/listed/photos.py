"""A user's own pictures, with or without captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Self

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from ...types import Fit
from ..base import Rows, stored_size
from ..pictured import PictureData
from ..pictures.squares import DecodedPictures
from ..sources import Records
from .stored import OtherColumnsError, StoredData, columns_there


class StoredPictures(StoredData, PictureData):
    """Rows with a picture each, from files.

    Pictures are decoded once, into the cache folder, to squares of 64 pixels (shorter side, centre crop) or of the
    form that a tower asks for.
    """

    @property
    def _pictures(self) -> DecodedPictures:
        pictures = self.file_columns["image"].files
        assert isinstance(pictures, DecodedPictures)
        return pictures

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        return self.read("image", rows)

    def encoded(self, row: int) -> bytes:
        return self._pictures.encoded(self._file_of(row))

    def shown(self, row: int, side: int) -> Image.Image:
        return self._pictures.shown(self._file_of(row), side)

    def _file_of(self, row: int) -> int:
        """Return the position of a row's file.

        Raises:
            OSError: for a row without a picture.
        """
        position = int(self.file_columns["image"].at[row])
        if position < 0:
            raise OSError(f"{self.key(row)} has no picture")
        return position

    def sized(self, image_size: int, fit: Fit | None = None) -> Self:
        side = stored_size(image_size)
        return self.formed({"image": side if fit is None else fit.uncut(side)})

    def fitted(self, fit: Fit) -> Self:
        return self.formed({"image": fit})

    def picture_digests(self) -> Sequence[bytes]:
        return self._digests["image"]


class Photos(StoredPictures):
    """Pictures without captions, in folders or in a table: to be embedded and searched, or trained on alone.

    A folder for each kind (``cat/1.jpg``) makes the label ``folder``, and columns of a table are labels; folders called
    after splits are splits, as for `Pairs`.
    """

    columns: Mapping[str, str] = MappingProxyType({"image": "image"})

    def columns_of(self, source: str | Path, records: Records) -> Mapping[str, str]:
        there = columns_there(records)
        if "image" not in records.columns:
            raise OtherColumnsError(
                f"{source} holds no pictures: it has the columns {', '.join(records.columns)}"
            )
        return {"image": "image"} | {name: modality for name, modality in there.items() if name != "text"}
