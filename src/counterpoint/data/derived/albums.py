"""Any data with pictures and conversations, each picture among others, and requests that say which one is meant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil, sqrt
from typing import Any, ClassVar, NamedTuple, Self, final

import numpy as np
import torch
from jaxtyping import Bool, Shaped, UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from ...frames import Frames, whole
from ...networks.base import Input
from ...raw import Conversation, Exchange
from ...registry import unknown
from ..base import Data, Rows, SomeItems
from ..fingerprint import bytes_of
from ..items import AskedPart, Box
from ..rng import Rng
from ._derived import DerivedData
from .conversations import COLUMN, ConversationData

PAPERS = {"mia-dpo": ("AlbumData",)}

IMAGE = "image"
FURTHER = ("second", "third", "fourth", "fifth")
"""The columns of the further pictures of a sequence."""
COUNTS = {"sequence": (2, 5), "collage": (2, 9), "inset": (2, 2)}
"""Forms of albums, with the fewest and the most pictures of one."""
USUAL = {"sequence": 2, "collage": 4, "inset": 2}
"""Pictures of an album where nobody says another number."""
_INSET = 0.5
"""Side of an inset, as a share of the picture's side."""
_GREY = 128
_TRIES = 100
"""Draws for each further picture, after which a split has too few."""


class _Album(NamedTuple):
    """Which pictures an album shows.

    Attributes:
        form: one of `COUNTS`.
        rows: of its pictures in their order; an inset follows the picture that it lies on.
        number: of the picture that is asked about, in this order.
        corner: left and top of an inset, as shares of the sides.
    """

    form: str
    rows: tuple[int, ...]
    number: int
    corner: tuple[float, float]


@final
class AlbumData(DerivedData):
    """Data whose pictures stand among pictures of other rows of their split, and whose requests say which one is meant.

    - ``sequence``: the columns ``image``, ``second`` … hold a picture each.
    - ``collage``: one picture of tiles, row by row; tiles without a picture are grey.
    - ``inset``: the row's picture at half its side upon another one.

    The request says first which picture is meant, ``In picture 2 of 4: …``. Number and other pictures are drawn by the
    row's id, each as likely. All else is as it was: captions, labels and items such as questions are those of the
    row's own picture. A sequence has no items, as a model of several pictures is asked about all of them.

    Args:
        data: with pictures and conversations; conversations are made of its questions and captions where it has none.
        forms: of `COUNTS`, each with the number of its pictures behind it if that is not the usual one, with + between
            them: ``collage+inset``, ``sequence3``. A row has one of them.

    Raises:
        UnknownNameError: for another form.
        ValueError: for another number of pictures, a sequence beside other forms, data without pictures, data that has
            columns with the names of `FURTHER`, and data that lies in shards.

    Source: Liu et al., "MIA-DPO: Multi-Image Augmented Direct Preference Optimization For Large Vision-Language Models"
    (2024), arXiv 2410.17637. There tiles bear their numbers; here they are counted row by row.
    """

    part: ClassVar[str] = "albums"

    def __init__(self, data: Data, forms: str) -> None:
        if COLUMN not in data.columns:
            data = ConversationData(data)
        super().__init__(data, with_albums(data.name, forms))
        self.counts = _counts(forms)
        of_sequence = self.counts.get("sequence", 1)
        if of_sequence > 1 and len(self.counts) > 1:
            raise ValueError(f"albums={forms}: a sequence has columns of its own, so name it alone")
        if IMAGE not in data.columns or len(data.shards):
            lies = "lies in shards" if len(data.shards) else "has no pictures"
            raise ValueError(f"{data.name} {lies}: albums are made of pictures that can be read at random")
        further = FURTHER[: of_sequence - 1]
        if taken := [column for column in further if column in data.columns]:
            raise ValueError(f"{data.name} has a column {taken[0]} already: leave albums={forms} out")
        self.shown = (IMAGE, *further)
        self.columns = {**data.columns, **dict.fromkeys(further, IMAGE)}
        self.changes = (f"albums {forms}",)
        self._sides: list[Rows] = []
        self._side_of = np.full(len(data), -1, np.int64)
        for rows in data.splits.sides.values():
            new = rows[self._side_of[rows] < 0]
            self._side_of[new] = len(self._sides)
            self._sides.append(rows[data.present(IMAGE, rows) & data.present(COLUMN, rows)])
        self._albums: dict[int, _Album | None] = {}

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        if column not in (*self.shown, COLUMN):
            return super().present(column, rows)
        own = self.data.present(IMAGE, rows) & self.data.present(COLUMN, rows)
        return own & np.array([self._album(int(row)) is not None for row in rows], bool)

    def read(self, column: str, rows: Rows) -> Any:
        if column == COLUMN:
            return self._conversations(rows)
        return self._pictures(column, rows) if column in self.shown else super().read(column, rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        return (
            self.read(column, rows)
            if column in (*self.shown, COLUMN)
            else super().read_training(column, rows)
        )

    def cuts(self, column: str, rows: Rows) -> Frames:
        return whole(len(rows)) if column in self.shown else super().cuts(column, rows)

    def file(self, column: str, row: int) -> tuple[str, bytes]:
        return Data.file(self, column, row) if column in self.shown else super().file(column, row)

    def asked_part(self, row: int) -> AskedPart | None:
        album = self._album(row)
        if album is None:
            return None
        others = [other for number, other in enumerate(album.rows) if number != album.number]
        talks = self.data.read(COLUMN, np.array(others))
        lead = _lead(album)
        number = album.number if album.form == "sequence" else 0
        return AskedPart(
            self.shown, number, _boxes(album)[album.number], tuple(_led(talk, lead) for talk in talks)
        )

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        if len(self.shown) > 1:
            raise LookupError(f"{self.name}: its rows have several pictures, and items have one")
        return super().items(form, rows, kinds)

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        own = {column: given for column, given in inputs.items() if column in self.data.columns}
        return self._of(self.data.suited(own, training=training))

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        return {**super().digests(), self.part: [bytes(row) for row in self._became()[:, 0]]}

    def _digest_parts(self, columns: Iterable[str]) -> Iterator[bytes]:
        yield from super()._digest_parts([column for column in columns if column in self.data.columns])

    def _became(self) -> Shaped[np.ndarray, "N _"]:
        every = np.arange(len(self))
        digests = [bytes_of(repr(self._album(int(row))))[:16].ljust(16) for row in every]
        return np.array(digests, dtype="S16")[:, None]

    def _album(self, row: int) -> _Album | None:
        """Return the album of a row; None where its split has too few pictures, or the row is in no split."""
        if row not in self._albums:
            self._albums[row] = self._drawn(row)
        return self._albums[row]

    def _drawn(self, row: int) -> _Album | None:
        side = self._side_of[row]
        draws = Rng(0, int(self.ids[row]), "albums")
        form = draws.choice("form", tuple(self.counts))
        count = self.counts[form]
        rows = self._sides[side] if side >= 0 else np.array([], np.int64)
        if len(rows) < count:
            return None
        others: dict[int, None] = {}
        for attempt in range(_TRIES * count):
            other = int(rows[draws.integer(f"other {attempt}", 0, len(rows) - 1)])
            if other != row and len(others) < count - 1:
                others[other] = None
        if len(others) < count - 1:
            return None
        number = count - 1 if form == "inset" else draws.integer("number", 0, count - 1)
        shown = [*others]
        shown.insert(number, row)
        left, top = (draws.uniform(side) * (1 - _INSET) for side in ("left", "top"))
        return _Album(form, tuple(shown), number, (left, top))

    def _conversations(self, rows: Rows) -> list[Conversation]:
        albums = [self._album(int(row)) for row in rows]
        given = self.data.read(COLUMN, rows)
        return [
            talk if album is None else _led(talk, _lead(album))
            for talk, album in zip(given, albums, strict=True)
        ]

    def _pictures(self, column: str, rows: Rows) -> Any:
        albums = [self._album(int(row)) for row in rows]
        number = self.shown.index(column)
        needed = [
            (int(row),)
            if album is None
            else (album.rows[number],)
            if album.form == "sequence"
            else album.rows
            for row, album in zip(rows, albums, strict=True)
        ]
        flat = sorted({row for of in needed for row in of})
        read = self.data.read(IMAGE, np.array(flat, np.int64))
        by_row = dict(zip(flat, read, strict=True))
        made = [
            by_row[of[0]] if len(of) == 1 or album is None else _composed(album, [by_row[row] for row in of])
            for of, album in zip(needed, albums, strict=True)
        ]
        if not isinstance(read, Tensor):
            return made
        return torch.stack(made) if made else read


def _counts(forms: str) -> dict[str, int]:
    counts = {}
    for one in forms.split("+"):
        matched = re.fullmatch(r"(.*?)(\d*)", one)
        assert matched is not None
        form, number = matched.groups()
        if form not in COUNTS:
            raise unknown("form of albums", form, COUNTS)
        counts[form] = int(number or USUAL[form])
        fewest, most = COUNTS[form]
        if not fewest <= counts[form] <= most:
            of = f"{fewest} to {most}" if most > fewest else f"{most}"
            raise ValueError(f"albums={one}: {form} takes {of} pictures")
    return counts


def _lead(album: _Album) -> str:
    """Return what a request says first."""
    if album.form == "inset":
        return "In the small picture: "
    return f"In picture {album.number + 1} of {len(album.rows)}: "


def _led(talk: Conversation, lead: str) -> Conversation:
    return tuple(Exchange(lead + exchange.request, exchange.reply) for exchange in talk)


def _boxes(album: _Album) -> list[Box]:
    """Return the part of the picture that shows each picture of an album."""
    if album.form == "sequence":
        return [(0.0, 0.0, 1.0, 1.0)] * len(album.rows)
    if album.form == "inset":
        left, top = album.corner
        return [(0.0, 0.0, 1.0, 1.0), (left, top, left + _INSET, top + _INSET)]
    side = ceil(sqrt(len(album.rows)))
    corners = [(k % side / side, k // side / side) for k in range(len(album.rows))]
    return [(x, y, x + 1 / side, y + 1 / side) for x, y in corners]


def _composed(album: _Album, pictures: Sequence[UInt8[Tensor, "3 _ _"]]) -> UInt8[Tensor, "3 H W"]:
    """Return one picture of several, in the size of that which is asked about; later ones lie upon earlier ones."""
    size = pictures[album.number].shape[1:]
    canvas = torch.full_like(pictures[album.number], _GREY)
    for (left, top, right, bottom), picture in zip(_boxes(album), pictures, strict=True):
        x, y = (
            slice(*_pixels(ends, of)) for ends, of in (((left, right), size[1]), ((top, bottom), size[0]))
        )
        canvas[:, y, x] = F.resize(picture, [y.stop - y.start, x.stop - x.start], antialias=True)
    return canvas


def _pixels(ends: tuple[float, float], size: int) -> tuple[int, int]:
    first, last = (round(end * size) for end in ends)
    return first, last


def with_albums(source: str, forms: str) -> str:
    """Return the name of data whose pictures stand in albums of some forms.

    >>> with_albums("scenes:tiny", "collage+inset"), with_albums("scenes:tiny", "")
    ('scenes:tiny,albums=collage+inset', 'scenes:tiny')
    """
    return f"{source},albums={forms}" if forms else source


def albums_of(source: str) -> tuple[str, str]:
    """Return the name of data without the forms of its albums, and these; a file that is called so is a file.

    >>> albums_of("scenes:tiny,albums=collage,talk=captions")
    ('scenes:tiny,talk=captions', 'collage')
    """
    named = re.search(r",albums=([^,]*)", source)
    if named is None or os.path.exists(source):
        return source, ""
    return source[: named.start()] + source[named.end() :], named[1]
