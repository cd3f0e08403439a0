"""From a request to a form that is filled, or to a refusal in one sentence."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from ...forms import fault
from .limits import Limits
from .refusals import RequestError, bad

T = TypeVar("T", bound=BaseModel)


async def filled(request: Request, form: type[T]) -> T:
    """Read a form as JSON.

    Raises:
        RequestError: for another content, and for what the form does not hold.
    """
    if _kind(request) != "application/json":
        raise RequestError(
            415, "send JSON with Content-Type: application/json, or a picture with its own", code="content"
        )
    try:
        return form.model_validate_json(await request.body())
    except ValidationError as error:
        raise _refusal(error) from None


async def upload(request: Request) -> bytes | None:
    """Return the bytes of a picture that is sent as it is; None where something else is sent."""
    return await request.body() if _kind(request).startswith("image/") else None


def from_query(request: Request, form: type[T], lists: tuple[str, ...] = ()) -> T:
    """Read a form from the words after the question mark, beside a picture that is sent as it is.

    Raises:
        RequestError: for what the form does not hold.
    """
    words = request.query_params
    values: dict[str, Any] = {
        name: words.getlist(name) if name in lists else words[name] for name in dict.fromkeys(words)
    }
    try:
        return form.model_validate(values)
    except ValidationError as error:
        raise _refusal(error) from None


def checked_texts(texts: list[str], limits: Limits, param: str) -> list[str]:
    """Refuse texts that are empty, too many or too long.

    Raises:
        RequestError: saying which.
    """
    if len(texts) > limits.inputs:
        raise bad(f"{param} has {len(texts):,} entries; at most {limits.inputs:,} are taken", param)
    if any(not text.strip() for text in texts):
        raise bad(f"{param} has an empty text", param)
    if (characters := sum(map(len, texts))) > limits.characters:
        raise bad(f"{param} has {characters:,} characters; at most {limits.characters:,} are taken", param)
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise bad(f"{param} has a text that is no valid Unicode", param) from None
    return texts


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _refusal(error: ValidationError) -> RequestError:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return bad(
            f"the body is no JSON that can be read: {first.get('ctx', {}).get('error', 'it is broken')}"
        )
    name = next((part for part in first["loc"] if isinstance(part, str)), None)
    if first["type"] == "model_type" and not first["loc"]:
        return bad("the body must be a JSON object: names and values in braces")
    words = fault(error)
    return bad(words if len(words) <= 300 else f"{name} is of another form than it must be", name)
