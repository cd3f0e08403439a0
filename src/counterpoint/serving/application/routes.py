"""Routes and layers, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ..requests.forms import (
    EmbeddingsAnswer,
    EmbeddingsRequest,
    MapAnswer,
    QueryOptions,
    SearchRequest,
    ZeroShotLabels,
    ZeroShotRequest,
)
from ..requests.gate import Gate
from ..requests.refusals import MEANINGS, Failure, RequestError, bad, refused
from ..requests.security import Security
from . import items, openai, searching
from .metrics import MetricsMiddleware
from .pages import page_files
from .service import Service

Answer = type[BaseModel] | str | tuple[str, ...] | None

_REFERENCE = "#/components/schemas/{model}"
_FORMS = (EmbeddingsRequest, SearchRequest, ZeroShotRequest)
_PICTURES = ("image/jpeg", "image/png", "image/webp", "image/gif")
_SHOWN = ("image/jpeg", "image/png", "image/webp")
_BESIDE = "Beside a picture that is sent as it is."


def assembled(
    service: Service, *, hosts: Collection[str], origins: Collection[str], token: str | None
) -> FastAPI:
    """Return the application of a service; see `counterpoint.serving.app`."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        yield
        service.end()

    made = FastAPI(
        title="counterpoint", docs_url=None, redoc_url=None, lifespan=lifespan, redirect_slashes=False
    )
    made.state.service = service
    post, get = partial(made.add_api_route, methods=["POST"]), partial(made.add_api_route, methods=["GET"])
    post("/v1/embeddings", openai.embeddings, **_route_options(EmbeddingsRequest, answer=EmbeddingsAnswer))
    post("/v1/search", searching.search, **_route_options(SearchRequest, QueryOptions))
    post("/v1/zero-shot", searching.zero_shot, **_route_options(ZeroShotRequest, ZeroShotLabels))
    get("/v1/models", openai.models, **_route_options())
    get("/v1/about", items.about, **_route_options())
    get("/v1/map", items.map_points, **_route_options(answer=MapAnswer))
    get("/v1/items/{id}", items.item, **_route_options())
    get("/v1/items/{id}/picture", items.picture, **_route_options(answer=_SHOWN))
    get("/v1/items/{id}/sound", items.sound, **_route_options(answer="audio/wav"))
    get("/health", items.health, **_route_options())
    get("/ready", items.ready, **_route_options())
    get("/metrics", items.metrics, **_route_options(answer="text/plain"))
    for file in page_files():
        made.add_route(file.path, file.answer, methods=["GET"], include_in_schema=False)
    _refuse_alike(made)
    made.add_middleware(Gate, limits=service.limits, listener=service.metrics.in_hand.set)
    made.add_middleware(Security, hosts=hosts, origins=origins, token=token)
    made.add_middleware(MetricsMiddleware, metrics=service.metrics)
    _describe(made)
    return made


def _refuse_alike(made: FastAPI) -> None:
    """Give every refusal the same form, those of the library too, and none the words of a request."""

    async def unformed(request: Request, error: Exception) -> Response:
        return bad("an id is a whole number", "id").response()

    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        messages = {404: "there is no such route", 405: "the route has no such method"}
        refusal = RequestError(
            error.status_code,
            messages.get(error.status_code, "the request cannot be read"),
            headers=error.headers,
        )
        return refusal.response()

    made.add_exception_handler(RequestError, refused)
    made.add_exception_handler(RequestValidationError, unformed)
    made.add_exception_handler(HTTPException, unknown)


def _route_options(
    form: type[BaseModel] | None = None, query: type[BaseModel] | None = None, answer: Answer = None
) -> dict[str, Any]:
    """Return what the description of a route says beside its answer.

    Args:
        form: of the JSON that it takes.
        query: of the words after the question mark, where it takes a picture as it is too.
        answer: the form of its answer, or its media types where that is no JSON; what the route returns unless given.
    """
    extra: dict[str, Any] = {}
    if form is not None:
        content: dict[str, Any] = {
            "application/json": {"schema": {"$ref": _REFERENCE.format(model=form.__name__)}}
        }
        if query is not None:
            content |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _PICTURES}
            extra["parameters"] = _parameters(query)
        extra["requestBody"] = {"required": True, "content": content}
    responses: dict[int | str, dict[str, Any]] = {
        status: {"model": Failure, "description": meaning} for status, meaning in MEANINGS.items()
    }
    more: dict[str, Any] = {}
    if isinstance(answer, str | tuple):
        kinds = (answer,) if isinstance(answer, str) else answer
        responses[200] = {
            "content": {kind: {"schema": {"type": "string"}} for kind in kinds},
            "description": "It is there.",
        }
        more["response_class"] = Response
    elif answer is not None:
        more["response_model"] = answer
    return {"openapi_extra": extra, "responses": responses, **more}


def _parameters(form: type[BaseModel]) -> list[dict[str, Any]]:
    """Return the fields of a form as words after the question mark."""
    fields = form.model_json_schema()
    return [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": _BESIDE}
        for name, schema in fields["properties"].items()
    ]


def _describe(made: FastAPI) -> None:
    """Let ``/openapi.json`` say the forms of requests, which are read here and not by the library."""
    plain = made.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        forms = models_json_schema([(form, "validation") for form in _FORMS], ref_template=_REFERENCE)[1]
        schema["components"]["schemas"] |= forms["$defs"]
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)  # of the library's own checks, which answer 400 here
        return schema

    made.openapi = openapi  # type: ignore[method-assign] # the way that the library's documentation shows
