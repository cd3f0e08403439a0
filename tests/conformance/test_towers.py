"""Properties of the built-in towers, those of `counterpoint.testing`."""

from __future__ import annotations

import pytest
from conformance_tools import run_all

from counterpoint.networks import TOWERS
from counterpoint.testing import built_in_towers, tower_checks

EXCEPT = {("wav2vec2", "gradients")}
"""Towers with a property that they need not have: Wav2Vec2 has a vector for masks, which only its training uses."""


@pytest.mark.parametrize("name", [name for name in TOWERS if built_in_towers(name)])
def test_conforms(name: str) -> None:
    run_all(
        name,
        (
            (modality, ((k, check) for k, check in tower_checks(build) if (name, k) not in EXCEPT))
            for modality, build in built_in_towers(name).items()
        ),
    )
