"""Single items, the map, and what is served."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

import numpy as np
import polars as pl
from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import Response

from ..requests.forms import AboutAnswer, Item, MapAnswer, ServerStatus
from ..requests.refusals import RequestError
from .gallery import Media
from .service import service_of

Id = Annotated[str, Path(pattern="^-?[0-9]{1,19}$", description="The id of a row.")]
"""An id in an address: whole numbers in another form are not ids."""
Column = Annotated[
    str | None,
    Query(max_length=200, description="The column that is shown; pictures, else the first that is no text."),
]


async def about(request: Request) -> AboutAnswer:
    """Say what is served: data, models, limits."""
    return service_of(request).about()


async def item(request: Request, id: Id) -> Item:
    """Return an item's columns."""
    service = service_of(request)
    rows = service.first.table[service.first.positions(int(id))]
    shown = service.first.item(rows.row(0, named=True))
    columns = rows["modality"].to_list()
    return Item(**shown, modalities=columns, **service.media_of(int(id), columns))


async def picture(request: Request, id: Id, column: Column = None) -> Response:
    """Return a picture of an item: its own as a JPEG of at most 512 pixels a side, a clip as an animated WebP.

    Of other columns a drawing as a PNG: the spectrogram of a sound, the lines of a series, the cells of a table row.
    """
    return await _media(request, id, column, service_of(request).gallery.picture)


async def sound(request: Request, id: Id, column: Column = None) -> Response:
    """Return the first minute of an item's sound as a WAV file."""
    whole = await _media(request, id, column, service_of(request).gallery.sound)
    return _part(whole, request.headers.get("range", ""))


def _part(whole: Response, asked: str) -> Response:
    """Return the part of an answer that a player asks for, without which it cannot move within a sound."""
    whole.headers["Accept-Ranges"] = "bytes"
    size = len(whole.body)
    asked_for = re.fullmatch(r"bytes=(\d{1,15})-(\d{0,15})", asked)
    if asked_for is None or (begin := int(asked_for[1])) >= size:
        return whole
    end = min(int(asked_for[2] or size), size - 1)
    if end < begin:
        return whole
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Range": f"bytes {begin}-{end}/{size}",
        "Cache-Control": whole.headers["cache-control"],
    }
    return Response(whole.body[begin : end + 1], 206, headers, whole.media_type)


async def _media(request: Request, id: str, column: str | None, make: Callable[..., Media]) -> Response:
    service = service_of(request)
    # The data may have more rows than were indexed.
    key = service.first.table["key"][service.first.positions(int(id))[0]]
    data = await service.gallery.opened()
    kind, content = await service.first.do(make, data, int(id), key, column)
    return Response(content, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})


async def map_points(request: Request) -> Response:
    """Return the points of the map, as columns."""
    service = service_of(request)
    table = service.first.table
    if not {"x", "y"} <= set(table.columns):
        raise RequestError(
            404, "the index has no map; make one with counterpoint index … --map tsne", code="not_found"
        )
    return Response(await service.first.do(_points, table), media_type="application/json")


def _points(whole: pl.DataFrame) -> bytes:
    table = whole.filter(pl.col("x").is_not_null())  # a map may leave rows out
    names, places = np.unique(table["modality"].to_numpy(), return_inverse=True)
    points = MapAnswer(
        modalities=names.tolist(),
        id=table["id"].to_list(),
        modality=places.tolist(),
        x=table["x"].cast(pl.Float64).round(4).to_list(),
        y=table["y"].cast(pl.Float64).round(4).to_list(),
    )
    return points.model_dump_json().encode()


async def health(request: Request) -> ServerStatus:
    """Say that the process lives."""
    return ServerStatus(status="alive")


async def ready(request: Request) -> ServerStatus:
    """Say that requests are answered: an application is made with its model loaded and its index open."""
    return ServerStatus(status="ready")


async def metrics(request: Request) -> Response:
    """Return numbers about the server, in the form of Prometheus."""
    return Response(service_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
