"""The mathematics of the claim about whitening."""

from __future__ import annotations

import pytest

from counterpoint_reproductions import whitened_cse


@pytest.mark.parametrize("name", list(whitened_cse.properties()))
def test_whitening_has_the_properties_of_its_card(name: str) -> None:
    assert whitened_cse.properties()[name] < 1e-4
