"""Named checks, and the one error that lists those that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

Check = Callable[[], None]
"""A function that raises an AssertionError if the property does not hold."""
Checks = Iterator[tuple[str, Check]]
"""Properties by name, each with its check."""


class ConformanceError(AssertionError):
    """The error that lists every property that fails.

    Attributes:
        subject: the name of what was checked.
        failures: what was expected and measured, by property.
    """

    def __init__(self, subject: str, failures: Mapping[str, str]) -> None:
        self.subject, self.failures = subject, dict(failures)
        lines = [f"{name}: {message}".replace("\n", "\n    ") for name, message in failures.items()]
        properties = "property" if len(lines) == 1 else "properties"
        super().__init__("\n  ".join([f"{subject} fails {len(lines)} {properties}:", *lines]))


def failure_of(check: Check) -> str:
    """Return what a check says of its failure; an empty text if the property holds.

    Raises:
        ModuleNotFoundError: if a package that the check needs is not installed, which says nothing of the property.
    """
    try:
        check()
    except AssertionError as error:
        return str(error).strip() or "the assertion failed"
    except ModuleNotFoundError:
        raise
    except Exception as error:  # whatever a user's class raises is a failure to report, not one of this loop
        return f"expected no error; raised {type(error).__name__}: {error}"
    return ""


def run_checks(subject: str, checks: Checks) -> None:
    """Run all checks.

    Raises:
        ConformanceError: if some fail, naming each of them.
    """
    failures = {name: message for name, check in checks if (message := failure_of(check))}
    if failures:
        raise ConformanceError(subject, failures)


def expect(condition: object, expected: str, measured: object, hint: str = "") -> None:
    """Raise an AssertionError in plain words unless a condition holds."""
    if not condition:
        raise AssertionError(
            f"expected {expected}; measured {measured}" + (f"\nhint: {hint}" if hint else "")
        )


@contextmanager
def expect_error(expected: str, hint: str = "", error: type[Exception] = ValueError) -> Iterator[None]:
    """Raise an AssertionError unless the block raises an error of a type."""
    wanted = f"{'an' if error.__name__[0] in 'AEIOU' else 'a'} {error.__name__} for {expected}"
    try:
        yield
    except (error, ModuleNotFoundError) as raised:
        if not isinstance(raised, error):
            raise  # a package is missing, which says nothing of the property
        return
    except Exception as raised:  # any other error is the failure that is reported
        expect(False, wanted, f"{type(raised).__name__}: {raised}", hint)
    expect(False, wanted, "no error", hint)


def expect_close(
    measured: Any, expected: Any, what: str, hint: str = "", *, rtol: float | None = None, atol: float = 0.0
) -> None:
    """Raise an AssertionError unless tensors, or numbers, are close; the tolerances default to torch's."""
    try:
        torch.testing.assert_close(measured, expected, rtol=rtol, atol=None if rtol is None else atol)
    except AssertionError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        expect(False, what, "; ".join(lines), hint)


def expect_equal_states(
    measured: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str, hint: str = ""
) -> None:
    """Raise an AssertionError unless two state dictionaries are equal bit for bit."""
    other = [
        name
        for name in {**expected, **measured}
        if name not in measured or name not in expected or not same(measured[name], expected[name])
    ]
    expect(not other, what, f"other values in {', '.join(other)}", hint)


def same(a: Any, b: Any) -> bool:
    """Return whether two entries of a state dictionary are equal bit for bit."""
    return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else bool(a == b)
