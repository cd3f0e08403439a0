"""Single items, the map, and what is served."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import polars as pl
from fastapi import Path
from starlette.requests import Request
from starlette.responses import Response

from ..requests.forms import AboutAnswer, Alive, Item, MapAnswer
from ..requests.refusals import Refusal
from .service import service_of

Id = Annotated[str, Path(pattern="^-?[0-9]{1,19}$", description="The id of a row.")]
"""An id in an address: whole numbers in another form are not ids."""


async def about(request: Request) -> AboutAnswer:
    """Say what is served: data, models, limits."""
    return service_of(request).about()


async def item(request: Request, id: Id) -> Item:
    """Return an item's columns."""
    service = service_of(request)
    rows = service.first.table[service.first.positions(int(id))]
    shown = service.first.item(rows.row(0, named=True))
    return Item(**shown, modalities=rows["modality"].to_list(), picture=service.picture_of(int(id)))


async def picture(request: Request, id: Id) -> Response:
    """Return an item's picture as a JPEG of at most 512 pixels a side."""
    service = service_of(request)
    key = service.first.table["key"][
        service.first.positions(int(id))[0]
    ]  # data may have more rows than were indexed
    data = await service.gallery.opened()
    shown = await service.first.do(service.gallery.picture, data, int(id), key)
    return Response(shown, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


async def map_points(request: Request) -> Response:
    """Return the points of the map, as columns."""
    service = service_of(request)
    table = service.first.table
    if not {"x", "y"} <= set(table.columns):
        raise Refusal(
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


async def health(request: Request) -> Alive:
    """Say that the process lives."""
    return Alive(status="alive")


async def ready(request: Request) -> Alive:
    """Say that requests are answered: an application is made with its model loaded and its index open."""
    return Alive(status="ready")


async def metrics(request: Request) -> Response:
    """Return numbers about the server, in the form of Prometheus."""
    return Response(service_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
