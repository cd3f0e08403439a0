"""The loop of the conformance suites over the checks of `counterpoint.testing`."""

from __future__ import annotations

from collections.abc import Iterable

from counterpoint.testing import Checks, ConformanceError
from counterpoint.testing._checks import failure_of
from fixtures import checks as type_checks


def run_all(subject: str, cases: Iterable[tuple[str, Checks]]) -> None:
    """Run the checks of all cases; types and shapes are checked in each as in a test by itself."""
    failures = {}
    for case, checks in cases:
        for name, check in checks:
            type_checks.begin()
            if message := failure_of(check):
                failures[f"{case}, {name}"] = message
    if failures:
        raise ConformanceError(subject, failures)
