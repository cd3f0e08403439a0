"""The gate: so many requests at once, of so many bytes, and for so long."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import Counter
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits import Limits
from .paths import path_of
from .refusals import RequestError, bad, busy, too_slow

_GUARDED = "/v1/"  # the page, health and metrics are answered whatever is in hand
_HELD = 16  # bodies of the largest size that are held at once
_log = logging.getLogger("counterpoint.serving")


class _Gone(Exception):
    """Nobody waits for the answer any more."""


class Gate:
    """A layer that reads the bodies of requests, and lets no more than a number of them in.

    A request that does not come in in time is answered with 408; one more than the queue holds, and one whose answer
    takes too long, with 503. An error below is a line in the log that holds nothing of the request; of errors at one
    place of the code only the 1st, 2nd, 4th, 8th … are logged, so that no client can fill the log.

    Args:
        app: the application below.
        limits: of the requests.
        listener: is told how many are in hand.
    """

    def __init__(self, app: ASGIApp, limits: Limits, listener: Callable[[int], None]) -> None:
        self.app, self.limits, self.listener = app, limits, listener
        self._in_hand = self._bytes = 0
        self._errors: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            if path_of(scope).startswith(_GUARDED):
                await self._guarded(scope, receive, noted)
            else:
                await self.app(scope, receive, noted)
        except _Gone:
            return
        except RequestError as refusal:
            if not started:
                await refusal.response()(scope, receive, send)
        except Exception as error:
            self._log(_location(error))
            if not started:
                await RequestError(500, "something failed here; the log says where").response()(
                    scope, receive, send
                )

    def _log(self, path: str) -> None:
        self._errors[path] += 1
        count = self._errors[path]
        if count.bit_count() == 1:  # a power of two
            _log.error("%s%s", path, f" ({count:,} times)" if count > 1 else "")

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._in_hand >= self.limits.queue:
            raise busy()
        self._in_hand += 1
        self.listener(self._in_hand)
        body, late = bytearray(), RequestError(408, "the request did not come in in time", code="late")
        try:
            async with asyncio.timeout(self.limits.seconds):
                await self._read(Headers(scope=scope), receive, body)
                late = too_slow(self.limits.seconds)
                await self.app(scope, _replaying(bytes(body), receive), send)
        except TimeoutError:
            raise late from None
        finally:
            self._in_hand -= 1
            self._bytes -= len(body)
            self.listener(self._in_hand)

    async def _read(self, headers: Headers, receive: Receive, body: bytearray) -> None:
        """Read a body, which may be neither too large nor shorter than was said."""
        stated = headers.get("content-length", "0")
        if not (stated.isascii() and stated.isdigit()):
            raise bad("the header Content-Length is no number")
        if len(stated) > 18 or int(stated) > self.limits.body:
            raise self._too_large()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            part = message.get("body", b"")
            if len(body) + len(part) > self.limits.body:
                raise self._too_large()
            if self._bytes + len(part) > _HELD * self.limits.body:
                raise busy()
            body += part
            self._bytes += len(part)
            more = message.get("more_body", False)

    def _too_large(self) -> RequestError:
        return RequestError(413, f"a request has at most {self.limits.body:,} bytes", code="too_large")


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Return a channel that gives a body that is read already, and after it what the first one gives."""
    replayed = False

    async def replay() -> Message:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _location(error: Exception) -> str:
    """Return the kind of an error and where it was raised; its words might hold what was sent."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name}, {last.filename}:{last.lineno}"
