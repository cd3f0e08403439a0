"""What every test runs under: shapes and types are checked, and property tests are the same on every run."""

from __future__ import annotations

import doctest
import inspect
from typing import Any

import hypothesis
import jaxtyping

# To beartype as to mypy an int may stand for a float; Self it only knows in classes that it decorates itself.
_BEARTYPE = """beartype.beartype(conf=beartype.BeartypeConf(
    is_pep484_tower=True, hint_overrides=beartype.FrozenDict({beartype.typing.Self: beartype.typing.Any})
))"""
# Before the package is first imported: its annotations, tensor shapes too, are then checked at run time.
_hook = jaxtyping.install_import_hook("counterpoint", _BEARTYPE)

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("repeatable")

# The checks wrap each function, and doctest takes a wrapper for a function of another module, whose examples
# it passes over. Looking through the wrapper brings them back.
_from_module = doctest.DocTestFinder._from_module  # type: ignore[attr-defined] # private, but the only place to ask


def _from_module_unwrapped(self: doctest.DocTestFinder, module: Any, candidate: Any) -> bool:
    return bool(_from_module(self, module, inspect.unwrap(candidate)))


doctest.DocTestFinder._from_module = _from_module_unwrapped  # type: ignore[attr-defined] # as above
