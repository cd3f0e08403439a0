"""Options of tasks as they are written behind a task's name."""

from __future__ import annotations

from typing import Any

import pytest

from counterpoint.evaluation import TASKS, create
from counterpoint.methods.options import options_of
from counterpoint.registry import UnknownName


@pytest.mark.parametrize("name", TASKS.names())
def test_the_options_of_every_task_are_known(name: str) -> None:
    assert all(isinstance(option, str) for option in options_of(TASKS.get(name)))
    with pytest.raises(UnknownName, match="unknown option"):
        create(f"{name},no_such_option=1")


@pytest.mark.parametrize(
    ("written", "option", "value"),
    [
        ("few_shot,shots=1/5", "shots", (1, 5)),
        ("mme,kinds=count/colour", "kinds", ("count", "colour")),
        ("answers,kinds=choose count/colour", "kinds", ("choose count", "colour")),
        ("answers,kinds=none", "kinds", None),
        ("answers,options=true", "options", True),
        ("matching,kinds=random/atom", "kinds", ("random", "atom")),
        ("captioning,variant=multi-task", "variant", "multi-task"),
        ("selection,kinds=atom", "kinds", ("atom",)),
    ],
)
def test_options_are_read_from_text(written: str, option: str, value: Any) -> None:
    task = create(written)
    assert getattr(task, option) == value
    assert task.name == written
