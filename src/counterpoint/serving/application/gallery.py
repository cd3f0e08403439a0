"""Pictures of the data that was indexed, by the ids of their rows alone."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from concurrent.futures import Future
from typing import final

import numpy as np

from ...data.pictured import Pictured
from ...data.source import load_any
from ...reasons import reason
from ..requests.refusals import Refusal

SIDE = 512
"""Most pixels of a side of a picture that is shown."""

_log = logging.getLogger("counterpoint.serving")


@final
class Gallery:
    """The pictures of some data, which is opened in a thread of its own.

    Args:
        source: the data, as it was embedded.
    """

    def __init__(self, source: str) -> None:
        self._source, self._changed = source, False
        self._data: Future[Pictured | None] = Future()
        threading.Thread(target=self._open, name="pictures", daemon=True).start()

    @property
    def open(self) -> bool:
        """True where there are pictures, as far as is known yet."""
        return not self._data.done() or self._data.result() is not None

    async def opened(self) -> Pictured:
        """Wait until the data is open.

        Raises:
            Refusal: if it cannot be opened.
        """
        data = await asyncio.wrap_future(self._data)
        if data is None:
            raise _none()
        return data

    def picture(self, data: Pictured, id: int, key: str) -> bytes:
        """Return an item's picture as a JPEG of at most `SIDE` pixels a side.

        Args:
            data: what `opened` returns.
            id: of the item.
            key: of the item; where another row has the id by now, as in a folder that got more files, there is none.

        Raises:
            Refusal: if there is none.
        """
        place = int(np.searchsorted(self._ids, id))
        if place == len(data) or self._ids[place] != id:
            raise _none()
        row = int(self._rows[place])
        if data.key(row) != key:
            if not self._changed:
                self._changed = True
                _log.warning("%s is not what was embedded: embed it again to see its pictures", self._source)
            raise _none()
        try:
            picture = data.shown(row, SIDE)
        except (OSError, ValueError):
            raise _none() from None
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=85)
        return file.getvalue()

    def _open(self) -> None:
        try:
            data = load_any(self._source)
            self._rows = np.argsort(data.ids, kind="stable")
            self._ids = data.ids[self._rows]
        except Exception as error:  # search goes on without pictures
            _log.warning("items are shown without pictures: %s", reason(error))
            self._data.set_result(None)
        else:
            self._data.set_result(data if isinstance(data, Pictured) else None)


def _none() -> Refusal:
    return Refusal(404, "there is no picture of this item", param="id", code="not_found")
