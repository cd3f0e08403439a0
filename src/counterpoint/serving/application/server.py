"""The server process: a socket, uvicorn, and an end that finishes what it has begun."""

from __future__ import annotations

import errno
import gc
import resource
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import require
from ..requests.limits import Limits
from .app import LOOPBACK

if TYPE_CHECKING:
    from fastapi import FastAPI

_HEAD = 16_384  # bytes of a request's first line and headers: each header takes time to be read
_FILES = 65_536  # connections are files, and systems begin with few


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    return host in LOOPBACK


def token_of(file: Path) -> str:
    """Read a token, which nobody else may be able to read.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a file that others can read, and for no token.
    """
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no token file {file}; write one word into it, and chmod 600 {file}"
        )
    if file.stat().st_mode & 0o077:
        raise ValueError(f"others can read the token in {file}; run: chmod 600 {file}")
    token = file.read_text(encoding="utf-8", errors="replace").strip()  # what is no text is no token
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{file} must hold a token: one word of ASCII letters and digits")
    return token


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        ValueError: for a port that is in use, and a host that is not this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"port {port} of {host} is in use; choose another one with --port") from None
        raise ValueError(f"{host}:{port} cannot be listened on: {error.strerror or error}") from None
    # asyncio asks for this by itself only of sockets that it has made; else an answer's second part waits for 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def run(app: FastAPI, sock: socket.socket, limits: Limits) -> None:
    """Answer requests until Ctrl-C or SIGTERM; those that have begun are finished.

    Args:
        app: the application.
        sock: that listens.
        limits: of the requests, for how long one takes at most.
    """
    uvicorn = require("uvicorn", "serve")
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if most == resource.RLIM_INFINITY else min(_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, wanted), most))
    config = uvicorn.Config(
        app,
        http=_protocol(limits.seconds),
        ws="none",
        lifespan="on",
        log_config=None,
        # Its warnings are of requests that are no HTTP: a line for each would let any client fill the log.
        log_level="error",
        h11_max_incomplete_event_size=_HEAD,
        access_log=False,  # its lines hold what is searched for
        server_header=False,
        timeout_graceful_shutdown=int(limits.seconds) + 1,
    )
    # Python looks through all that lives every few thousand requests; with models in memory that takes a third of a
    # second, in which nobody is answered. What is there now stays, and need not be looked through.
    gc.freeze()
    try:
        uvicorn.Server(config).run(sockets=[sock])
    except KeyboardInterrupt:
        pass  # uvicorn raises again the signal that it has ended for
    finally:
        sock.close()


def _protocol(seconds: float) -> Any:
    """Return uvicorn's protocol with two bounds: on the time of a connection without a request, and on headers."""
    from h11 import IDLE
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Patient(H11Protocol):
        """A connection that is looked at every so many seconds."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._last: Any = None
            self._timer = self.loop.call_later(seconds, self._check_idle)

        def connection_lost(self, exc: Exception | None) -> None:
            self._timer.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            # h11 bounds only headers that arrive in parts, and reads whole ones of any size.
            if self.conn.their_state is IDLE and b"\r\n\r\n" not in data[:_HEAD] and len(data) > _HEAD:
                self.send_400_response(f"The headers have more than {_HEAD} bytes.")
                return
            super().data_received(data)

        def _check_idle(self) -> None:
            """Close the connection where no request has come since it was last looked at."""
            idle = self.cycle is None or self.cycle.response_complete
            if idle and self.cycle is self._last:
                self.transport.close()
                return
            self._last = self.cycle
            self._timer = self.loop.call_later(seconds, self._check_idle)

    return Patient
