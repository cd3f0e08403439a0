"""The path that a request asks for, wherever the application is mounted."""

from __future__ import annotations

from starlette.types import Scope


def path_of(scope: Scope) -> str:
    """Return a request's path below the one that the application is mounted at, by which its route is found.

    >>> path_of({"path": "/below/v1/search", "root_path": "/below"}), path_of({"path": "/v1/search"})
    ('/v1/search', '/v1/search')
    """
    path: str = scope["path"]
    below = path.removeprefix(scope.get("root_path", ""))
    return below if below.startswith("/") else path
