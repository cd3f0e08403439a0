"""Conditions of every test: shapes and types are checked, and property tests are the same on every run.

Its fixtures import the package where they use it: after the checks have been put on, and only if they are asked for.
"""

from __future__ import annotations

import doctest
import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from fixtures import checks

if TYPE_CHECKING:
    from counterpoint.recipes import Recipe
    from counterpoint.training.run import Run
    from fixtures.tiny import TinyData

# Before the package is first imported: its annotations, tensor shapes too, are then checked at run time.
checks.install()

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("repeatable")

# The checks wrap each function, and doctest takes a wrapper for a function of another module, whose examples
# it passes over. Looking through the wrapper brings them back.
_from_module = doctest.DocTestFinder._from_module  # type: ignore[attr-defined] # private, but the only place to ask


def _from_module_unwrapped(self: doctest.DocTestFinder, module: Any, candidate: Any) -> bool:
    return bool(_from_module(self, module, inspect.unwrap(candidate)))


doctest.DocTestFinder._from_module = _from_module_unwrapped  # type: ignore[attr-defined] # as above


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's own list of trusted files out of the tests."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Repeat a failed test of other processes once where ``RERUN_SYSTEM`` is set; pytest's summary names it."""
    if os.environ.get("RERUN_SYSTEM"):
        for item in items:
            if item.get_closest_marker("system"):
                item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    checks.begin()


@pytest.fixture(scope="session")
def tiny_data() -> TinyData:
    """Seventy drawn shapes as a data set."""
    from fixtures.tiny import TinyData

    return TinyData()


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the same data as files: a table of pairs with its pictures."""
    from fixtures.files import write_pairs

    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Return the recipe of a run of a second."""
    from counterpoint.recipes import load, override

    small = {"steps": 9, "batch_size": 16, "checkpoint_every": 3, "validate_every": 3, "log_every": 1}
    return override(load("cpu"), {**small, "towers.image_size": 24, "towers.vocabulary": 300})


@pytest.fixture
def what(pairs: Path, recipe: Recipe) -> Run:
    """Return a run of clip on the pairs."""
    from counterpoint.training.run import Run

    return Run("clip", str(pairs), recipe, 0)
