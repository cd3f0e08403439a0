"""A small run on files: pairs, a recipe, a seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoint.recipes import Recipe, load, override
from counterpoint.training.run import Run
from fixtures.files import write_pairs


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return override(
        load("cpu"),
        {
            "steps": 9,
            "batch_size": 16,
            "checkpoint_every": 3,
            "validate_every": 3,
            "log_every": 1,
            "towers.image_size": 24,
            "towers.vocabulary": 300,
        },
    )


@pytest.fixture
def what(pairs: Path, recipe: Recipe) -> Run:
    return Run("clip", str(pairs), recipe, 0)
