"""Options of tasks as they are written behind a task's name."""

from __future__ import annotations

from typing import Any

import pytest

from counterpoint.evaluation import TASKS, create
from counterpoint.evaluation.in_context_shots import NOTHING, ZERO_SHOT, Shots
from counterpoint.methods.options import options_of
from counterpoint.registry import UnknownNameError


@pytest.mark.parametrize("name", TASKS.names())
def test_the_options_of_every_task_are_known(name: str) -> None:
    assert all(isinstance(option, str) for option in options_of(TASKS.get(name)))
    with pytest.raises(UnknownNameError, match="unknown option"):
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
        ("matching,shots=4", "shots", Shots(4)),
        ("matching,shots=4 texts", "shots", Shots(4, pictures=False)),
        ("captioning,shots=0", "shots", ZERO_SHOT),
        ("explanation,shots=nothing", "shots", NOTHING),
        ("abstention,judging=8", "judging", Shots(8)),
        ("abstention,judging=none", "judging", None),
    ],
)
def test_options_are_read_from_text(written: str, option: str, value: Any) -> None:
    task = create(written)
    assert getattr(task, option) == value
    assert task.name == written


@pytest.mark.parametrize("text", ["-1", "four", "4/8", "2.5", "4 pictures"])
def test_what_is_no_number_of_examples_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(
        ValueError, match=f"^option shots of matching must be a number of examples, .*, got '{text}'$"
    ):
        create(f"matching,shots={text}")
