"""Methods that can learn from the columns of some data, for messages."""

from __future__ import annotations

from collections.abc import Mapping

from . import METHODS

_SHOWN = 8  # methods that a message names


def fitting(columns: Mapping[str, str]) -> list[str]:
    """Return some methods that take the columns of data as they stand; first those that need no label.

    >>> "byol" in fitting({"image": "image"}), "clip" in fitting({"image": "image"})
    (True, False)
    """
    from .base import Method
    from .options import required

    fit = []
    for name in METHODS.modules:
        method = METHODS.get(name)
        if not issubclass(method, Method) or required(method):
            continue  # a loss, which takes what it is given, or what asks for another model
        try:
            chosen = method.needs.choose(name, columns)
        except ValueError:
            continue
        if len(chosen) == len(columns):
            fit.append(name)
    return sorted(fit, key=lambda name: (bool(METHODS.get(name).learns), name))[:_SHOWN]
