"""Properties of the built-in towers, those of `counterpoint.testing`."""

from __future__ import annotations

import pytest
from conformance_tools import run_all

from counterpoint.networks import TOWERS
from counterpoint.testing import built_in_towers, tower_checks


@pytest.mark.parametrize("name", [name for name in TOWERS if built_in_towers(name)])
def test_conforms(name: str) -> None:
    run_all(name, [(modality, tower_checks(build)) for modality, build in built_in_towers(name).items()])
