"""Executors: a file each, which says where units are carried out, and with which options."""

from __future__ import annotations

from ...registry import Registry
from ..unit import Executor, ResourceRequest

EXECUTORS = Registry("executor", __name__)
LOCAL = "local"
"""The executor where no other is named."""


def executor_of(named: str | Executor, needs: ResourceRequest) -> Executor:
    """Return an executor by its name, with its defaults; one that is an executor already as it is.

    Args:
        named: the executor.
        needs: of each unit that it is for.

    Raises:
        UnknownNameError: for a name that there is none of; the message gives the nearest one.
        Exception: what the executor's `check` finds.
    """
    made: Executor = EXECUTORS.get(named)() if isinstance(named, str) else named
    made.check(needs)
    return made
