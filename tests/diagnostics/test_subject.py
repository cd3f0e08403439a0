"""The subject of an examination: which rows are looked at, where its pictures are, and of what the loss is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.diagnostics.report import embeddings, network
from counterpoint.diagnostics.report.subject import Subject
from counterpoint.methods.arm import Arm
from counterpoint.recipes import Recipe, override
from counterpoint.recipes.schema import Augmentation, Towers
from counterpoint.study.opened import open_data
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from fixtures.tiny import TinyData

ROWS = np.arange(20, 40)


class Album(TinyData):
    """Pictures in a column ``photo``, some of which have none, or no text."""

    columns: Mapping[str, str] = MappingProxyType({"photo": "image", "text": "text"})

    def read(self, column: str, rows: np.ndarray) -> Any:
        return self.images(rows) if column == "photo" else super().read(column, rows)

    def present(self, column: str, rows: np.ndarray) -> np.ndarray:
        return rows % 4 != (0 if column == "photo" else 1)


def subject(arm: str) -> Subject:
    recipe = Recipe(towers=Towers(image_size=32, vocabulary=280))
    model = Arm.parse(arm).build(recipe, {"text": ["a red car", "a blue car"]}, 0, columns=Album.columns)
    return Subject(model.eval(), None, Album(), ROWS, None, 0.0)


def test_rows_are_looked_at_that_have_the_columns_that_are() -> None:
    of_both, of_pictures = subject("clip"), subject("infonce,on=images")
    assert of_both.rows.tolist() == of_both.seen.tolist() == ROWS[ROWS % 4 > 1].tolist()
    assert of_pictures.seen.tolist() == of_pictures.inside.tolist() == ROWS[ROWS % 4 != 0].tolist()
    assert [len(side.embeddings) for side in of_both.sides] == [len(of_both.seen)] * 2
    assert len(of_both.labels(of_both.seen)) == 10


def test_the_column_of_pictures_may_have_any_name() -> None:
    of_pictures = subject("infonce,on=images")
    assert of_pictures.picture == "photo"
    assert torch.equal(of_pictures.pictures(ROWS), Album().images(ROWS))
    with pytest.raises(ValueError, match="no pictures"):
        subject("infonce,on=texts").picture  # noqa: B018 # asked for is what raises


def test_pictures_and_captions_are_told_by_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "STEPS", {"image": 1, "text": 1})
    both = subject("clip")
    assert both.of_captions
    assert "pictures, query inverted" in embeddings.inversion(both).numbers
    assert "pictures whose text is first, whole" in network.ablation_study(both).numbers


def test_views_are_examined_as_the_recipe_has_them() -> None:
    of_simclr = embeddings.views(subject("ntxent,on=images"))
    of_crops = embeddings.views(
        replace(subject("ntxent,on=images"), augmentation=Augmentation(contrasted="crop"))
    )
    assert "Under the view “simclr”" in of_simclr.sentence
    assert "Under the view “crop”" in of_crops.sentence
    distance = "mean distance within classes"
    assert of_crops.numbers[distance] != of_simclr.numbers[distance]


def test_the_loss_is_that_of_a_batch_as_its_method_prepares_it(
    pairs: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "GRID_POINTS", 3)
    run = Run("jigclu", str(pairs), override(recipe, {"towers.image": "cnn", "towers.image_size": 32}), 0)
    data = open_data(run)
    method, loader = prepare(run, data)
    rows = next(iter(data.splits.test.values()))
    examined = Subject(method.eval(), None, data.suited(method.inputs), rows, loader, 0.0)
    loss, again = (network.terrain(examined).numbers["loss at the weights"] for _ in range(2))
    assert math.isfinite(loss)
    assert loss == again
