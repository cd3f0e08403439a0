"""Pictures and sounds of the data that was indexed, by the ids of its rows alone."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import Any, final

import numpy as np

from ... import trust
from ...data.base import Data
from ...data.columns import TEXT
from ...data.pictured import PictureData
from ...data.source import load_any
from ...pages.things import picture_of, sound_of
from ...reasons import reason
from ..requests.refusals import RequestError

SIDE = 512
"""Most pixels of a side of a picture that is shown."""

LONGEST_SOUND = 60
"""Seconds of a sound that is played, at most."""

Media = tuple[str, bytes]
"""MIME type and content of a file."""

IMAGE, AUDIO = "image", "audio"
"""Modalities with a media file of their own."""
_log = logging.getLogger("counterpoint.serving")


@final
class Gallery:
    """The pictures and sounds of some data, which is opened in a thread of its own.

    Args:
        source: the data, as it was embedded.
        offline: open no address, as the index names the data and not the user.
    """

    def __init__(self, source: str, *, offline: bool = False) -> None:
        self._source, self._offline, self._changed = source, offline, False
        self._data: Future[Data | None] = Future()
        # In a copy of this context, which says what the user trusts.
        opening = partial(copy_context().run, self._open)
        threading.Thread(target=opening, name="pictures", daemon=True).start()

    @property
    def open(self) -> bool:
        """True where there is something to show, as far as is known yet."""
        return not self._data.done() or self._data.result() is not None

    async def opened(self) -> Data:
        """Wait until the data is open.

        Raises:
            RequestError: if it cannot be opened.
        """
        data = await asyncio.wrap_future(self._data)
        if data is None:
            raise _none("picture")
        return data

    def picture(self, data: Data, id: int, key: str, column: str | None) -> Media:
        """Return a picture of an item: its own as a JPEG of at most `SIDE` pixels a side; of other columns a drawing.

        The drawing of a sound is its spectrogram; a clip is an animated WebP.

        Args:
            data: what `opened` returns.
            id: of the item.
            key: of the item; where another row has the id by now, as in a folder that got more files, there is none.
            column: that is shown; see `default_column` for the column unless given.

        Raises:
            RequestError: if there is none.
        """

        def make(shown: str, row: int) -> Media | None:
            if shown == IMAGE and isinstance(data, PictureData):
                return _jpeg(data, row)
            return picture_of(data.columns[shown], _example(data, shown, row))

        return self._made("picture", data, id, key, column or default_column(data.columns), make)

    def sound(self, data: Data, id: int, key: str, column: str | None) -> Media:
        """Return the first seconds of an item's sound as a WAV file; see `picture`.

        Unless a column is given, it is the first one with sounds.

        Raises:
            RequestError: if there is none.
        """

        def make(column: str, row: int) -> Media | None:
            return sound_of(data.columns[column], _example(data, column, row), LONGEST_SOUND)

        return self._made("sound", data, id, key, column or _first(data.columns, AUDIO), make)

    def _made(
        self,
        what: str,
        data: Data,
        id: int,
        key: str,
        column: str | None,
        make: Callable[[str, int], Media | None],
    ) -> Media:
        """Make a file of a column of a row, or refuse."""
        place = int(np.searchsorted(self._ids, id))
        if column is None or column not in data.columns or place == len(data) or self._ids[place] != id:
            raise _none(what)
        row = int(self._rows[place])
        if not data.present(column, np.array([row]))[0]:
            raise _none(what)
        if data.key(row) != key:
            if not self._changed:
                self._changed = True
                _log.warning("%s is not what was embedded: embed it again to see its pictures", self._source)
            raise _none(what)
        try:
            with trust.offline(self._offline):
                media = make(column, row)
        except (LookupError, OSError, ValueError, ImportError):  # the example is missing, or cannot be read
            raise _none(what) from None
        if media is None:
            raise _none(what)
        return media

    def _open(self) -> None:
        try:
            with trust.offline(self._offline):
                data = load_any(self._source)
            self._rows = np.argsort(data.ids, kind="stable")
            self._ids = data.ids[self._rows]
        except Exception as error:  # search goes on without pictures
            _log.warning("items are shown without pictures: %s", reason(error))
            self._data.set_result(None)
        else:
            self._data.set_result(None if default_column(data.columns) is None else data)


def default_column(columns: Mapping[str, str]) -> str | None:
    """Return the column that is shown for a row: the first with pictures, else the first that is not text, else None.

    Args:
        columns: each with its modality.

    >>> default_column({"text": "text", "audio": "audio", "front": "image"}), default_column({"text": "text"})
    ('front', None)
    """
    others = (column for column, modality in columns.items() if modality != TEXT)
    return _first(columns, IMAGE) or next(others, None)


def _first(columns: Mapping[str, str], modality: str) -> str | None:
    """Return the first column of a modality; None where there is none."""
    return next((column for column, each in columns.items() if each == modality), None)


def _jpeg(data: PictureData, row: int) -> Media:
    file = io.BytesIO()
    data.shown(row, SIDE).save(file, "JPEG", quality=85)
    return "image/jpeg", file.getvalue()


def _example(data: Data, column: str, row: int) -> Any:
    return data.read(column, np.array([row]))[0]


def _none(what: str) -> RequestError:
    return RequestError(404, f"there is no {what} of this item", param="id", code="not_found")
