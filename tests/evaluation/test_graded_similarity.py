"""Graded similarity: which pairs are asked about, and the rank correlation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from counterpoint.cli import main
from counterpoint.data.base import Data, Rows, Splits
from counterpoint.data.labels import Classes, Numbers
from counterpoint.evaluation import create, default_tasks
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.study.training.runner import run as carry_out
from counterpoint.training.run import Run

GRADES = np.array([0, 3, 1, 2, -1, -1])


class Graded(Data):
    """Pairs of texts, the second of which is at an angle to the first; two rows are of another source."""

    columns: Mapping[str, str] = MappingProxyType({"term": "text", "first": "text", "second": "text"})
    name = "graded"

    def __init__(self) -> None:
        self.ids = np.arange(len(GRADES))
        self.splits = Splits(self.ids[:0], {}, {"held out": self.ids})
        self.labels = {"similarity": Classes(("0", "1", "2", "3"), GRADES, ())}

    def read(self, column: str, rows: Rows) -> list[str]:
        return [f"{column} {row}" for row in rows]

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        return (rows < 4) != (column == "term")


class Angles:
    """First texts lie at 0, the second of row k at an angle of its own."""

    heads = ("global",)

    def __init__(self, angles: list[float], embeds: tuple[str, ...] = ("term", "first", "second")) -> None:
        self.angles, self.embeds = torch.tensor(angles), embeds

    def embed(self, column: str, inputs: list[str], head: str = "default") -> Tensor:
        rows = torch.tensor([int(text.split()[1]) for text in inputs])
        angle = self.angles[rows] if column == "second" else torch.zeros(len(rows))
        return F.normalize(torch.stack([angle.cos(), angle.sin()], 1), dim=1)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


def test_pairs_in_the_order_of_their_grades_correlate_wholly() -> None:
    data, task = Graded(), create("graded_similarity")
    rows = data.ids
    assert task(Angles([0.9, 0.1, 0.7, 0.4, 0, 0]), data, rows).value("spearman") == pytest.approx(1)
    assert task(Angles([0.1, 0.9, 0.4, 0.7, 0, 0]), data, rows).value("spearman") == pytest.approx(-1)
    scores = task(Angles([0.1, 0.9, 0.7, 0.4, 0, 0]), data, rows)
    assert scores.value("spearman") == pytest.approx(np.corrcoef([0, 3, 1, 2], [3, 0, 1, 2])[0, 1])
    assert scores.examples["grade"].null_count() == 2
    assert scores.examples["similarity"][0] == pytest.approx(np.cos(0.1))


def test_model_of_one_column_embeds_others_of_modality_as_one() -> None:
    data, task = Graded(), create("graded_similarity")
    one = Angles([0.0] * 6, ("first",))
    asked: set[str] = set()
    embed = one.embed

    def told(column: str, inputs: list[str], head: str = "default") -> Tensor:
        asked.add(column)
        return embed(inputs[0].split()[0], inputs, head)

    one.embed, one.angles = told, torch.tensor([0.9, 0.1, 0.7, 0.4, 0, 0])  # type: ignore[method-assign]
    task.check_model(one, data)
    assert task(one, data, data.ids).value("spearman") == pytest.approx(1)
    assert asked == {"first"}
    # Of pictures and captions, of which the data has neither.
    one.embeds = ("image", "text")
    task.check_model(one, data)
    assert task(one, data, data.ids).value("spearman") == pytest.approx(1)
    assert asked == {"first", "text"}
    one.embeds = ("first",)
    data.columns = {"first": "text", "second": "image"}
    with pytest.raises(NotApplicableError, match="two columns that the model embeds"):
        task.check_model(one, data)


def test_it_is_asked_of_rows_with_label_and_two_columns_alone() -> None:
    data, task = Graded(), create("graded_similarity")
    with pytest.raises(NotApplicableError, match="two columns and the label similarity"):
        task(Angles([0.0] * 6, ("term", "first")), data, data.ids)
    with pytest.raises(NotApplicableError, match="two columns and the label similarity"):
        task(Angles([0.0] * 6), data, np.array([0, 4, 5]))
    data.labels = {}
    with pytest.raises(NotApplicableError, match="similarity"):
        task(Angles([0.0] * 6), data, data.ids)
    assert "graded_similarity" not in default_tasks(Graded())


def test_grades_may_be_any_numbers() -> None:
    data, task = Graded(), create("graded_similarity")
    data.labels = {"similarity": Numbers(np.array([0, 3.25, 0.5, 2.75, np.nan, np.nan]))}
    scores = task(Angles([0.1, 0.9, 0.7, 0.4, 0, 0]), data, data.ids)
    assert scores.value("spearman") == pytest.approx(np.corrcoef([0, 3, 1, 2], [3, 0, 1, 2])[0, 1])
    assert scores.examples["grade"].to_list() == [0, 3.25, 0.5, 2.75, None, None]
    create("graded_similarity").check_columns(data)
    data.labels = {"similarity": Numbers(np.arange(6.0))}
    data.splits = Splits(data.ids, {}, {})
    with pytest.raises(NotApplicableError, match="needs test examples with the label similarity"):
        create("graded_similarity").check_columns(data)


def test_that_its_failures_are_not_drawn_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = {"steps": 1, "batch_size": 8, "towers.vocabulary": 300}
    source = "glosses:graded,train=60,validation=2,test=16"
    run = Run("clip,columns=first+second", source, override(load_recipe("seconds"), small), 0)
    carry_out(run, tmp_path / "run", test=False)
    words = ["evaluate", str(tmp_path / "run"), "--tasks", "graded_similarity", "--failures", str(tmp_path)]
    assert main(words) == 0
    assert "failures of graded_similarity are not drawn" in capsys.readouterr().out
