"""Running the tasks on test sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...data.base import PairedData, Rows
from ...types import Assistant
from ..results import RunResults
from ..task import NotApplicable, check_rows
from . import DEFAULT_ANSWERING, create
from .base import AnsweringTask


def evaluate_assistant(
    assistant: Assistant,
    data: PairedData,
    tasks: Sequence[str | AnsweringTask] | None = None,
    tests: Mapping[str, Rows] | None = None,
    *,
    seed: int = 0,
) -> RunResults:
    """Score a model that answers in words on every test set with every task.

    Args:
        assistant: is asked.
        data: what it is asked about.
        tasks: names or task objects; unless given, the default ones, less those that the data has no questions for.
        tests: named rows; the test sets of the data unless given.
        seed: of the sampling.

    Raises:
        UnknownName: for a task that does not exist.
        NotApplicable: for a task that is asked for and that the data has no questions for.
        ValueError: if there is no test set, or one is empty.
    """
    tests = data.splits.test if tests is None else tests
    if not tests:
        raise ValueError(f"{data.name!r} has no test set to evaluate on: its splits.test is empty")
    wanted = [
        create(given) if isinstance(given, str) else given
        for given in (DEFAULT_ANSWERING if tasks is None else tasks)
    ]
    by_test = {}
    for name, rows in tests.items():
        check_rows(data, rows, f"the test set {name!r}")
        found = []
        for task in wanted:
            try:
                found.append(task(assistant, data, rows, seed=seed))
            except NotApplicable:
                if tasks is not None:
                    raise
        by_test[name] = tuple(found)
    return RunResults(by_test)
