"""The checks that tests/conftest.py promises are on."""

from __future__ import annotations

import doctest

import pytest
import torch

from counterpoint import registry
from counterpoint.types import Batch


def test_annotations_are_checked() -> None:
    with pytest.raises(TypeError):
        registry.unknown("method", 1, [])  # type: ignore[arg-type] # that it is refused is the test


def test_shapes_are_checked() -> None:
    with pytest.raises(TypeError):
        Batch(torch.zeros(2, 2, dtype=torch.int64), {})
    with pytest.raises(TypeError):
        Batch(torch.zeros(2), {})


def test_examples_of_checked_functions_are_found() -> None:
    found = {test.name for test in doctest.DocTestFinder(exclude_empty=True).find(registry) if test.examples}
    assert {"counterpoint.registry.unknown", "counterpoint.registry.Registry"} <= found
