from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from fixtures.tiny import TinyData


@pytest.fixture(scope="session")
def tiny_data() -> TinyData:
    return TinyData()
