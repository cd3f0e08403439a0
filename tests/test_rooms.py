"""Rules that hold for every room of the package."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType

import pytest

import counterpoint

ROOMS = [
    room.name
    for room in pkgutil.iter_modules(counterpoint.__path__, "counterpoint.")
    if room.ispkg and hasattr(import_module(room.name), "__all__")
]


@pytest.mark.parametrize("room", ROOMS)
def test_exported_names_are_what_they_say(room: str) -> None:
    """A submodule named like a function or class of its room would take its place once it is imported."""
    package = import_module(room)
    submodules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    for name in package.__all__:
        first = getattr(package, name)
        assert getattr(package, name) is first, f"{room}.{name} changes when it is used"
        if name in submodules:
            assert isinstance(first, ModuleType), f"rename {room}.{name} or its submodule {name}.py"
