"""Refusals: one sentence with a status, in OpenAI's form of an error."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response


class RequestError(Exception):
    """A request that is not answered, and why.

    Attributes:
        status: of HTTP.
        message: one sentence for whoever sent it.
        param: the part of the request that is at fault; None where it is none.
        code: a word for programs.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def response(self) -> Response:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return Response(
            json.dumps({"error": error}), self.status, self.headers, media_type="application/json"
        )


def bad(message: str, param: str | None = None) -> RequestError:
    """Return the refusal of what a request says."""
    return RequestError(400, message, param=param)


def busy() -> RequestError:
    """Return the refusal of a request that may come again."""
    message = "the server has all the requests in hand that it takes; try again in a second"
    return RequestError(503, message, code="busy", headers={"Retry-After": "1"})


def too_slow(seconds: float) -> RequestError:
    """Return the refusal of a request whose answer takes too long; the same request again would take as long."""
    message = (
        f"the request took longer than {seconds:g} seconds; send fewer texts or pictures, or smaller ones"
    )
    return RequestError(503, message, code="too_slow")


async def refused(request: Request, error: Exception) -> Response:
    """Answer with a refusal."""
    assert isinstance(error, RequestError)
    return error.response()


class Fault(BaseModel):
    """The fault of a request."""

    message: str
    type: str
    param: str | None
    code: str | None


class Failure(BaseModel):
    """The answer to a request that is refused, in OpenAI's form."""

    error: Fault


MEANINGS = {
    400: "The request says something that cannot be done; the message says what.",
    401: "A token is required, and this is none or another.",
    403: "The request comes from a page of another origin.",
    404: "There is no such thing.",
    408: "The request did not come in in time.",
    413: "The request is too large.",
    415: "The content is neither JSON nor a picture.",
    421: "The server has another name.",
    500: "Something failed here.",
    503: "Too much is in hand (try again after the seconds of Retry-After), or the answer took too long (without it).",
}
"""Statuses of refusals."""
