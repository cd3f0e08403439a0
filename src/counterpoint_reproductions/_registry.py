"""Claims by the slug of their paper."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from counterpoint.registry import Registry

CLAIMS = Registry("claim", "counterpoint_reproductions", "run", exclude=("lab",))


def module(slug: str) -> ModuleType:
    """Import the file of a claim: its ``CLAIM``, its ``REFUTED`` and its ``run``.

    Raises:
        UnknownNameError: for a paper that has no claim; names those that have.
    """
    return import_module(CLAIMS.reference(slug).partition(":")[0])
