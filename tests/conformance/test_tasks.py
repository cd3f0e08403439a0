"""Properties of every task, those of `counterpoint.testing`; a task is found by its file, and needs no entry here."""

from __future__ import annotations

import pytest
from conformance_tools import run_all

from counterpoint.data.derived.new_classes import NewClassesData
from counterpoint.evaluation import TASKS, create
from counterpoint.evaluation.task import ModelKind
from counterpoint.testing import TaskCase, task_checks
from counterpoint.testing._task import DATA
from counterpoint_reproductions.lab.data_pairs import EmojiPairs
from fixtures.tiny import TraitsData

CASES = [(name, asked) for name in TASKS.names() for asked in TASKS.get(name).asks]


@pytest.mark.parametrize(("name", "asked"), CASES, ids=str)
def test_conforms(name: str, asked: ModelKind) -> None:
    run_all(name, [(asked, task_checks(TaskCase(name, (*DATA, TRAITS, LACKING, TWICE), asked)))])


TRAITS = TraitsData()
LACKING = NewClassesData(TraitsData(), "look", 0.4)
"""Data of whose first label training lacks some classes."""
LACKING.labels = {"look": LACKING.labels["look"], **LACKING.labels}
TWICE = EmojiPairs(100)
"""Pairs of pictures with maps."""


def test_has_the_name_of_its_file() -> None:
    assert [name for name in TASKS.names() if create(name).name != name] == []
    assert [name for name, module in TASKS.modules.items() if not module.endswith(f".{name}")] == []


def test_hyphens_are_understood() -> None:
    assert "zero-shot" in TASKS
    assert create("zero-shot").name == "zero_shot"
