"""Tasks with one mistake each: the property that the mistake breaks is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from counterpoint.evaluation import EmbedderTask
from counterpoint.evaluation.task import captions_of, check_rows, scores
from counterpoint.testing import ConformanceError, check_task
from counterpoint.types import Metric, Scores
from fixtures.tiny import TinyData


class Right(EmbedderTask):
    """Is a picture nearer to its caption than to another text?"""

    name = "right"
    primary = "right"
    modalities = ("image", "text")

    def __call__(self, model: Any, data: Any, rows: Any) -> Scores:
        check_rows(data, rows, self.name)
        return self.scored(data, rows, self.outcomes(model, data, rows))

    def outcomes(self, model: Any, data: Any, rows: Any) -> np.ndarray:
        x = model.embed("image", data.read("image", rows))
        y = model.embed("text", [of_row[0] for of_row in captions_of(data, rows)])
        right = (x * y).sum(-1) > (x * model.embed("text", ["nothing"])).sum(-1)
        return np.where(data.present("image", rows), right.numpy(), np.nan)

    def scored(self, data: Any, rows: Any, outcomes: np.ndarray) -> Scores:
        return scores(self.name, data, rows, {"right": outcomes}, {"right": Metric("right", chance=0.5)})


class NoRows(Right):
    def __call__(self, model: Any, data: Any, rows: Any) -> Scores:
        return self.scored(data, rows, self.outcomes(model, data, rows) if len(rows) else np.zeros(0))


class ByOrder(Right):
    def outcomes(self, model: Any, data: Any, rows: Any) -> np.ndarray:
        return np.arange(len(rows)) % 2 == 0


class OtherPrimary(Right):
    primary = "wrong"


class NoName(Right):
    name = ""


WRONG = {NoRows: "no rows", ByOrder: "order of the rows", OtherPrimary: "main metrics", NoName: "facts"}
DATA = (TinyData(),)


def test_right_tasks_pass() -> None:
    check_task(Right, data=DATA)
    check_task("retrieval", data=DATA)


@pytest.mark.parametrize("task", WRONG, ids=lambda task: task.__name__)
def test_the_broken_property_is_named(task: type[Right]) -> None:
    with pytest.raises(ConformanceError) as error:
        check_task(task, data=DATA)
    assert WRONG[task] in error.value.failures
