"""Rows that lack a column an arm reads are left out of its training, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Bool

from counterpoint.data.base import Rows
from counterpoint.methods.clip import CLIP
from counterpoint.recipes import Recipe
from counterpoint.recipes.schema import LEAST_STEPS
from counterpoint.training.run import Run
from counterpoint.training.start import order_of, prepare, with_steps
from counterpoint.training.trained import trained_rows
from fixtures.tiny import TinyData


class Holes(TinyData):
    """The shapes, of which some lack their captions and others their pictures."""

    def __init__(self, text: int = 3, image: int = 5) -> None:
        super().__init__()
        self.every = {"text": text, "image": image}

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        return rows % self.every[column] > 0


WHOLE = TinyData()


def test_an_arm_trains_on_rows_that_have_what_it_reads() -> None:
    data, train = Holes(), WHOLE.splits.train
    assert trained_rows("clip", data).tolist() == [r for r in train if r % 3 and r % 5]
    assert trained_rows("moco", data).tolist() == [r for r in train if r % 5]
    assert trained_rows("ntxent,on=text", data).tolist() == [r for r in train if r % 3]
    assert trained_rows("clip", WHOLE).tolist() == train.tolist()


def test_method_uses_gaps_given_all_rows_but_those_with_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CLIP, "incomplete", "use")
    train = WHOLE.splits.train
    assert trained_rows("clip", Holes()).tolist() == [r for r in train if r % 15]


def test_no_row_to_train_on_is_an_error_that_counts() -> None:
    with pytest.raises(ValueError, match=r"of 30 rows to train on none has them all \(image 26, text 0\)"):
        trained_rows("clip", Holes(text=1))


def test_batches_epochs_and_steps_are_of_these_rows(recipe: Recipe) -> None:
    data = Holes()
    run = Run("clip", "tiny", recipe.model_copy(update={"batch_size": 50}))
    loader = prepare(run, data)[1]
    rows = trained_rows("clip", data)
    assert loader.batch_size == loader.order.examples == len(rows)
    assert sorted(loader.batch(0).ids.tolist()) == sorted(data.ids[rows].tolist())
    assert loader.batch(0).present == {}
    following = {"batch_size": 4, "steps": None, "epochs": 30.0}
    run = replace(run, recipe=recipe.model_copy(update=following))
    assert with_steps(run, data).recipe.steps == 30 * (len(rows) // 4) > LEAST_STEPS


def test_tasks_in_turn_keep_their_own_rows() -> None:
    data = Holes()
    tasks = np.array_split(data.splits.train, 2)
    data.splits = replace(data.splits, tasks=tasks)
    rows = trained_rows("clip", data)
    tasks_of_order = order_of(data, 2, 0, rows).settings()["tasks"]
    assert [task["rows"] for task in tasks_of_order] == [int(np.isin(task, rows).sum()) for task in tasks]
