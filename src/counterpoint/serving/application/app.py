"""The application, without the packages that it needs until it is made."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from ...registry import require
from ...trust import everything, given
from ..indexing.index import Index
from ..requests.limits import Limits

if TYPE_CHECKING:
    from fastapi import FastAPI

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names of this machine for itself."""


def app(
    index: str | os.PathLike[str] | Index,
    *,
    against: str | os.PathLike[str] | Index | None = None,
    data: str | None = None,
    limits: Limits | None = None,
    token: str | None = None,
    hosts: Iterable[str] = LOOPBACK,
    origins: Collection[str] = (),
    trust: bool = False,
) -> FastAPI:
    """Return an ASGI application, for uvicorn, gunicorn or Ray Serve: page, search, and embeddings in OpenAI's form.

    It fetches nothing: an address or a path in a request is an error where a picture is asked for, and else a text; an
    address of data in the index is not opened, a model in the index that is not on this machine is not downloaded, and
    a Python file that the index names is not imported.

    Args:
        index: a folder that `counterpoint.index` wrote, or an open index; the model is the one that made its vectors.
        against: another one of the same rows, to be shown beside it.
        data: what was embedded, for the pictures and sounds of the rows; the data that the index names unless given.
        limits: of the requests; the defaults of `Limits` unless given.
        token: that requests for data must bear, as ``Authorization: Bearer TOKEN``; none unless given.
        hosts: names by which the server may be called; ``0.0.0.0`` stands for any address of version 4, ``::`` for any.
        origins: pages of other origins that may ask, as ``https://example.org``.
        trust: open addresses, download models and import Python files that the index names (see
            `counterpoint.trust`).

    Raises:
        MissingPackageError: where the packages of the extra ``serve`` are missing.
        UntrustedError: for a model that is not on this machine, unless ``trust`` is true.
        ValueError: for a folder that is no index, a model that is not the one of the vectors, indexes of different
            rows, and an origin that no browser names so.
    """
    for origin in origins:
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", origin):
            raise ValueError(f"the origin {origin!r} is none: write scheme and host, as https://example.org")
    for package in ("fastapi", "orjson", "prometheus_client"):
        require(package, "serve")
    from .routes import assembled
    from .service import Service

    given(data)
    other = None if against is None else _opened(against)
    with everything(trust):
        served = Service(_opened(index), other, limits or Limits(), data, offline=data is None and not trust)
    return assembled(served, hosts=tuple(hosts), origins=frozenset(origins), token=token)


def _opened(index: str | os.PathLike[str] | Index) -> Index:
    return index if isinstance(index, Index) else Index.open(os.fspath(index))
