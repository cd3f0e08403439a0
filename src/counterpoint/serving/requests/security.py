"""The right to ask: by the name of the server, the page that a request comes from, and the token."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .paths import path_of
from .refusals import RequestError

_CLOSED = ("/v1", "/metrics", "/openapi.json")  # what a token is for; the page holds no data
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
        "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_NO_TOKEN = "a token is required: send the header Authorization: Bearer TOKEN"


class Security:
    """A layer that lets through who may ask, and puts the headers of safety on every answer.

    Args:
        app: the application below.
        hosts: names by which the server may be called. ``0.0.0.0`` stands for any address of version 4, ``::`` for any
            address at all: that a page of another site calls this server by a name of its own needs a name.
        origins: pages of other origins that may ask, as ``https://example.org``.
        token: that every request but for the page must bear; none unless given.
    """

    def __init__(
        self, app: ASGIApp, hosts: Iterable[str], origins: Collection[str], token: str | None
    ) -> None:
        self.app, self.origins, self.token = app, frozenset(origins), token
        self.hosts = frozenset(host.strip("[]").lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        other = origin if origin in self.origins else None

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                response_headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    response_headers.setdefault(name, value)
                response_headers.setdefault("Cache-Control", "no-store")
                if other is not None:
                    response_headers["Access-Control-Allow-Origin"] = other
                    response_headers["Access-Control-Expose-Headers"] = "Retry-After"
                    response_headers["Cross-Origin-Resource-Policy"] = "cross-origin"
                response_headers.add_vary_header("Origin")
            await send(message)

        try:
            self._check(scope, headers, origin, other)
        except RequestError as refusal:
            await refusal.response()(scope, receive, with_headers)
            return
        if other is not None and scope["method"] == "OPTIONS":
            await _preflight(scope, receive, with_headers)
            return
        await self.app(scope, receive, with_headers)

    def _check(self, scope: Scope, headers: Headers, origin: str | None, other: str | None) -> None:
        """Refuse who may not ask."""
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._named(host):
            raise RequestError(421, "the server is not called by this name; add it with --name", code="host")
        if origin is not None and other is None and origin.partition("://")[2] != host:
            raise RequestError(
                403, "pages of other origins may not ask; add one with --origin", code="origin"
            )
        if self.token is None or not path_of(scope).startswith(_CLOSED):
            return
        if other is not None and scope["method"] == "OPTIONS":
            return  # a browser asks without the token whether it may send it
        kind, _, credentials = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(credentials.encode(), self.token.encode()):
            raise RequestError(401, _NO_TOKEN, code="token", headers={"WWW-Authenticate": "Bearer"})

    def _named(self, host: str) -> bool:
        """Return whether the server may be called so."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self.hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return "::" in self.hosts or (address.version == 4 and "0.0.0.0" in self.hosts)


async def _preflight(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell a browser what a page of an origin that is named may send."""
    allowed = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        "Access-Control-Max-Age": "600",
    }
    headers = [(name.lower().encode(), value.encode()) for name, value in allowed.items()]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
