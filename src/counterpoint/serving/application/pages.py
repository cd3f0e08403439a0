"""The page: a few files that are read when the application is made, so that no request opens one."""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response


class PageFile(NamedTuple):
    """A file of the page.

    Attributes:
        path: of its route.
        answer: its route.
    """

    path: str
    answer: Callable[[Request], Awaitable[Response]]


def page_files() -> list[PageFile]:
    """Return the files of the page; ``index.html`` is found at the root."""
    return list(_files(files(__package__) / "page", "/"))


def _files(folder: Traversable, above: str) -> Iterator[PageFile]:
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.name.startswith((".", "_")):
            continue
        path = above if entry.name == "index.html" else above + entry.name
        if entry.is_dir():
            yield from _files(entry, f"{path}/")
        else:
            yield PageFile(path, _answering(entry.read_bytes(), mimetypes.guess_type(entry.name)[0]))


def _answering(content: bytes, kind: str | None) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return answer
