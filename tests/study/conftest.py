"""Fixtures of the tests that stop and kill studies."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.killed_studies import Undisturbed, options_of


@pytest.fixture(scope="session")
def options(pairs: Path) -> list[str]:
    return options_of(pairs)


@pytest.fixture(scope="session")
def undisturbed(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(options, tmp_path_factory.mktemp("undisturbed"))
