"""counterpoint serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass as form

from ..forms import FORM, FlatField, Names, Positional
from ..serving.requests.limits import Limits
from .common.arguments import parse
from .common.terminal import Terminal


@form(frozen=True, config=FORM)
class ServeOptions:
    """Serve an index: a page to search it, and an API, on this machine alone unless a host is given."""

    index: Annotated[str, Positional()]
    """A folder that counterpoint index wrote; the model is the one that made its vectors."""
    against: str | None = None
    """Another index of the same rows, shown beside it."""
    data: str | None = None
    """Data that was embedded, for the pictures and sounds of the rows; unless given, the data that the index names, if
    it is on this machine."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for every one of this machine. Any but the loopback's needs a token."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 for a free one."""
    token_file: Path | None = None
    """A file with a token that requests must bear, which nobody else can read (chmod 600)."""
    open: bool = False
    """Take requests of anybody who reaches the host, without a token."""
    name: Names = ()
    """More names by which the server is called, where a name server or a proxy has one for it."""
    origin: Names = ()
    """Pages of other origins that may ask, as https://example.org."""
    limits: Annotated[Limits, FlatField()] = field(default_factory=Limits)


def main(arguments: Sequence[str]) -> int:
    options = parse(ServeOptions, arguments, "serve")

    console = Terminal()
    with console.status("loading torch"):
        from ..serving.application import app as application
        from ..serving.application import server
    loopback = server.is_loopback(options.host)
    if not loopback and options.token_file is None and not options.open:
        raise ValueError(
            f"on {options.host} others reach the server: give a token with --token-file FILE, or --open to let them in"
        )
    token = None if options.token_file is None else server.token_of(options.token_file)
    with server.listening(options.host, options.port) as sock:
        with console.status(f"opening {options.index}"):
            made = application.app(
                options.index,
                against=options.against,
                data=options.data,
                limits=options.limits,
                token=token,
                hosts=(*application.LOOPBACK, options.host, *options.name),
                origins=options.origin,
            )
        shown = f"[{options.host}]" if ":" in options.host else options.host
        console.print(f"http://{shown}:{sock.getsockname()[1]} (Ctrl-C ends)", soft_wrap=True)
        server.run(made, sock, options.limits)
    return 0
