"""The tasks for models that answer, on scenes: who knows is perfect, who does not look is at chance."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from counterpoint.cli import main
from counterpoint.data import load
from counterpoint.data.base import Rows
from counterpoint.data.items import ObjectAnnotations
from counterpoint.data.pictured import PairedData
from counterpoint.evaluation import TASKS, create, evaluate
from fixtures.assistants import always, guessing, knowing, seeing

ROWS = 40


@cache
def world(source: str = "scenes:cooccurrence,pixels=32") -> PairedData:
    return load(source)


def rows(data: PairedData, test: str = "broken", count: int = ROWS) -> Rows:
    return data.splits.test[test][:count]


def test_one_that_knows_is_perfect() -> None:
    data = world()
    existence = knowing(data, rows(data), ("existence", "adversarial existence"))
    scores = create("pope")(existence, data, rows(data))
    assert scores.subsets() == ("all", "adversarial", "random")
    for subset in scores.subsets():
        assert scores.value("f1", subset) == scores.value("accuracy", subset) == 1
        assert scores.value("yes", subset) == 0.5
    contents = data.items(ObjectAnnotations, rows(data))
    scores = create("chair")(seeing(contents), data, rows(data))
    assert scores.value("instances") == scores.value("partners") == 0
    assert scores.value("recall") == 1
    assert scores.value("mentions") == np.mean([len(present) for present in contents.present])


def test_the_three_splits_need_a_tail_and_pairs() -> None:
    data = world("scenes:longtail,pixels=32")
    scores = create("pope")(always("yes"), data, rows(data, "as trained"))
    assert scores.subsets() == ("all", "popular", "random")


def test_knowing_relations_colours_and_numbers() -> None:
    data = world("scenes:basic,pixels=32")
    some = rows(data, "as trained")
    kinds = ("existence", "count", "colour", "relation")
    scores = create("mme")(knowing(data, some, kinds), data, some)
    assert {*scores.subsets()} <= {"all", *kinds}
    assert scores.value("accuracy_plus") == scores.value("score") == 1
    kinds = ("existence", "choose count", "choose colour", "relation")
    scores = create("answers")(knowing(data, some, kinds), data, some)
    assert scores.value("accuracy") == scores.value("colour") == scores.value("mean_over_kinds") == 1
    assert 0 < (scores.metrics["colour"].chance or 0) < 1
    kinds = ("choose count", "choose colour", "choose size")
    scores = create("multiple_choice")(knowing(data, some, kinds), data, some)
    assert scores.value("accuracy") == scores.value("debiased") == 1
    assert scores.value("blind") == 0


def test_one_that_does_not_look_is_at_chance_exactly() -> None:
    data = world("scenes:basic,pixels=32")
    some = rows(data, "as trained")
    for word in ("yes", "no"):
        scores = create("mme")(always(word), data, some)
        assert scores.value("accuracy") == 0.5
        assert scores.value("accuracy_plus") == 0
        assert create("pope")(always(word), data, some).value("accuracy") == 0.5


def test_one_that_guesses_is_near_chance() -> None:
    data = world()
    some = rows(data, "balanced", 120)
    results = evaluate(guessing(), data, ["pope", "mme"], {"balanced": some})
    for row in results.scores():
        if row["subset"] == "all" and row["metric"] in ("accuracy", "accuracy_plus", "f1", "yes"):
            assert abs(row["value"] - row["chance"]) < 4 * 0.5 / row["n"] ** 0.5
    again = evaluate(guessing(), data, ["pope"], {"balanced": some}, seed=1)
    assert again.value("pope", "balanced", "accuracy") != results.value("pope", "balanced", "accuracy")


def test_the_command_line_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "tasks"]) == 0
    assert {*TASKS.names()} <= {*capsys.readouterr().out.split()}
