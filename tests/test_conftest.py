"""The checks that tests/conftest.py promises are on."""

from __future__ import annotations

import doctest
from typing import Any

import pytest
import torch
from beartype import beartype

from counterpoint import registry
from counterpoint.types import Batch
from fixtures import checks


def test_annotations_are_checked() -> None:
    with pytest.raises(TypeError):
        registry.unknown(1, "clip", [])  # type: ignore[arg-type] # that it is refused is the test


def test_shapes_are_checked() -> None:
    with pytest.raises(TypeError):
        Batch(torch.zeros(2, 2, dtype=torch.int64), {})
    with pytest.raises(TypeError):
        Batch(torch.zeros(2), {})


def test_examples_of_checked_functions_are_found() -> None:
    found = {test.name for test in doctest.DocTestFinder(exclude_empty=True).find(registry) if test.examples}
    assert {"counterpoint.registry.unknown", "counterpoint.registry.Registry"} <= found


def test_of_many_calls_in_test_first_checked_in_next_test_again() -> None:
    for _ in range(checks.CALLS):
        registry.unknown("method", "clip", [])
    registry.unknown(1, "clip", [])  # type: ignore[arg-type] # that it passes is the test
    checks.begin()
    with pytest.raises(TypeError):
        registry.unknown(1, "clip", [])  # type: ignore[arg-type] # that it is refused is the test


def test_a_function_within_is_one_however_often_it_is_defined() -> None:
    decorate = checks._jaxtyped(typechecker=beartype)

    def defined() -> Any:
        def within(x: int) -> int:
            return x

        return decorate(within)

    checks.begin()
    for _ in range(checks.INNER):
        assert defined()(1) == 1
    assert defined()("passes") == "passes"
    checks.begin()
    with pytest.raises(TypeError):
        defined()("is refused")
