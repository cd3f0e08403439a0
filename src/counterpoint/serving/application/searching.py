"""Search and zero-shot classification."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
import torch
from starlette.requests import Request

from ..indexing.condition import condition
from ..requests.forms import (
    QueryOptions,
    ScoredLabel,
    SearchAnswer,
    SearchHit,
    SearchRequest,
    ZeroShotAnswer,
    ZeroShotLabels,
    ZeroShotRequest,
)
from ..requests.reading import checked_texts, filled, from_query, upload
from ..requests.refusals import bad
from ..requests.uploads import of_address
from .engine import PLAIN, Engine
from .service import service_of

_RESULTS = 10


async def search(request: Request) -> SearchAnswer:
    """Find the rows that are most like a text, a picture or an item.

    A picture may be sent as it is, with its own Content-Type, and the options after the question mark.
    """
    began, service = time.perf_counter(), service_of(request)
    picture, like = await upload(request), None
    if picture is not None:
        options: QueryOptions = from_query(request, QueryOptions)
        engine = service.engine(options.index)
    else:
        options = wanted = await filled(request, SearchRequest)
        engine = service.engine(options.index)
        fields = [name for name in ("query", "image", "id") if getattr(wanted, name) is not None]
        if len(fields) != 1:
            raise bad(f"give one of query, image and id, got {' and '.join(fields) or 'none'}")
        if wanted.image is not None:
            picture = of_address(wanted.image, "image")
        elif wanted.id is not None:
            like = _stored(engine, wanted.id, options.modality)
    most = service.limits.results
    k = min(_RESULTS, most, len(engine.index)) if options.k is None else options.k
    if k > most:
        raise bad(f"k is {k:,}; at most {most:,} results are given", "k")
    if like is not None:
        column = engine.table["modality"][like]
    else:
        column = engine.column(*(("text", "query") if picture is None else ("image", "image")))
    engine.check_space(column, options.modality)
    if picture is not None:
        vectors = (await engine.pictures([picture], "image")).vectors
    elif like is not None:
        vectors = engine.index.vectors(np.array([like]))
    else:
        texts = checked_texts([wanted.query or ""], service.limits, "query")
        vectors = (await engine.texts(texts, "query")).vectors
    rows = await engine.do(_nearest, engine, vectors, k, options, like)
    results = [
        SearchHit(**engine.item(row), score=row["score"], **service.media_of(row["id"], [row["modality"]]))
        for row in rows.iter_rows(named=True)
    ]
    return SearchAnswer(results=results, seconds=time.perf_counter() - began)


async def zero_shot(request: Request) -> ZeroShotAnswer:
    """Say which of some labels goes best with a picture.

    A picture may be sent as it is, with its own Content-Type, and the labels after the question mark.
    """
    began, service = time.perf_counter(), service_of(request)
    picture = await upload(request)
    if picture is not None:
        options: ZeroShotLabels = from_query(request, ZeroShotLabels, lists=("labels",))
        engine = service.engine(options.index)
    else:
        options = wanted = await filled(request, ZeroShotRequest)
        engine = service.engine(options.index)
        if (wanted.image is None) == (wanted.id is None):
            raise bad("give one of image and id")
        if wanted.image is not None:
            picture = of_address(wanted.image, "image")
    if options.template.count("{}") != 1:
        raise bad("template must hold {} once, for the label", "template")
    engine.column("text", "labels")
    column = engine.column("image", "image")
    if not engine.index.about.shares_space:
        raise bad("pictures cannot be compared with texts: the model's spaces are apart", "labels")
    sentences = [options.template.replace("{}", label) for label in options.labels]
    checked_texts(options.labels, service.limits, "labels")
    checked_texts(sentences, service.limits, "labels")
    if picture is not None:
        image = (await engine.pictures([picture], "image")).vectors
    else:
        image = engine.index.vectors(np.array([_stored(engine, wanted.id or 0, column, only=True)]))
    texts = (await engine.texts(sentences, "labels")).vectors
    scores = engine.model.similarity(torch.from_numpy(image), torch.from_numpy(texts))[0].tolist()
    ranked = sorted(zip(options.labels, scores, strict=True), key=lambda each: -each[1])
    labels = [ScoredLabel(label=label, score=score) for label, score in ranked]
    return ZeroShotAnswer(labels=labels, seconds=time.perf_counter() - began)


def _stored(engine: Engine, id: int, modality: str | None, *, only: bool = False) -> int:
    """Return the position of an item's row of a modality; of any, where it has none of that one.

    Raises:
        RequestError: if there is no such row.
    """
    positions = engine.positions(id)
    modalities = engine.table["modality"]
    chosen = [each for each in positions if modality in (None, modalities[each])]
    if only and not chosen:
        raise bad("the item has no picture in the index", "id")
    return (chosen or positions)[0]


def _nearest(
    engine: Engine, vectors: np.ndarray, k: int, options: QueryOptions, like: int | None
) -> pl.DataFrame:
    """Search; a row is not found by its own vector.

    Raises:
        RequestError: for a condition that is none, and for more results than there are rows.
    """
    if options.where is not None:
        try:
            condition(options.where, engine.table.select(*PLAIN, *engine.labels))
        except ValueError as error:
            raise bad(" ".join(str(error).split()), "where") from None
    try:
        more = like is not None and k < len(engine.index)
        (result,) = engine.index.nearest(vectors, k + more, where=options.where, modality=options.modality)
    except ValueError as error:
        raise bad(" ".join(str(error).split())) from None
    rows = result.rows
    if like is not None:
        item = engine.table.row(like, named=True)
        rows = rows.filter(~((pl.col("id") == item["id"]) & (pl.col("modality") == item["modality"])))
    return rows.head(k)
