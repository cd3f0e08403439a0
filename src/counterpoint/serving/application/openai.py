"""Embeddings in OpenAI's form."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import orjson
from starlette.requests import Request
from starlette.responses import Response

from ..requests.forms import EmbeddingsRequest, Model, ModelsAnswer
from ..requests.limits import Limits
from ..requests.reading import checked_texts, filled
from ..requests.refusals import bad
from ..requests.uploads import of_address
from .service import service_of


async def embeddings(request: Request) -> Response:
    """Embed texts and pictures; texts are texts, whatever they look like, and a text that is too long is cut.

    ``usage`` counts the tokens that the model reads, start and end tokens included; pictures have none.
    """
    service = service_of(request)
    form = await filled(request, EmbeddingsRequest)
    engine = service.of_model(form.model)
    texts, pictures = _inputs(form.input, service.limits)
    width = engine.index.about.width
    if form.dimensions not in (None, width):
        raise bad(f"dimensions can only be {width}, the model's own", "dimensions")
    vectors = np.empty((len(texts) + len(pictures), width), np.float32)
    tokens = 0
    if texts:
        embedded = await engine.texts(list(texts.values()), "input")
        vectors[list(texts)], tokens = embedded.vectors, embedded.tokens
    if pictures:
        vectors[list(pictures)] = (await engine.pictures(list(pictures.values()), "input")).vectors
    return _answer(vectors, tokens, form)


async def models(request: Request) -> ModelsAnswer:
    """List the models."""
    service = service_of(request)
    return ModelsAnswer(
        object="list",
        data=[
            Model(id=name, object="model", created=service.created, owned_by="counterpoint")
            for name in service.models
        ],
    )


def _inputs(value: Any, limits: Limits) -> tuple[dict[int, str], dict[int, bytes]]:
    """Return the texts and the pictures of a request, by their places.

    Raises:
        RequestError: for anything else, and for none or too many.
    """
    inputs = value if isinstance(value, list) else [value]
    if not inputs:
        raise bad("input is empty", "input")
    if isinstance(inputs[0], int | list):
        raise bad("input must be texts or pictures; token ids are not taken", "input")
    if len(inputs) > limits.inputs:
        raise bad(f"input has {len(inputs):,} entries; at most {limits.inputs:,} are taken", "input")
    texts, pictures = {}, {}
    for index, each in enumerate(inputs):
        if isinstance(each, str):
            texts[index] = each
        elif isinstance(each, dict) and each.keys() == {"image"}:
            pictures[index] = of_address(each["image"], "input")
        else:
            raise bad(
                'input must be a text, a picture as {"image": "data:image/png;base64,…"}, or a list', "input"
            )
    checked_texts(list(texts.values()), limits, "input")
    return texts, pictures


def _answer(vectors: np.ndarray, tokens: int, form: EmbeddingsRequest) -> Response:
    written: list[Any] = list(vectors)
    if form.encoding_format == "base64":
        written = [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]
    data = [{"object": "embedding", "index": i, "embedding": each} for i, each in enumerate(written)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    whole = {"object": "list", "data": data, "model": form.model, "usage": usage}
    # A row of numbers is written in a twentieth of json's time, with no more digits than a float32 has.
    return Response(orjson.dumps(whole, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
