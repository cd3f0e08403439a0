"""Sections on models that predict pixels: they are drawn from a run, and say the numbers of the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoint.diagnostics.report.sections import OF_PLACES
from counterpoint.recipes import load, override
from counterpoint.study.report.diagnosis import PAGE, diagnose_model
from counterpoint.study.training.runner import run
from counterpoint.training.run import Run

RECIPE = override(
    load("cpu-dense"),
    {
        "steps": 2,
        "batch_size": 4,
        "towers.image_size": 32,
        "towers.image_width": 16,
        "towers.image_layers": 1,
        "towers.vocabulary": 300,
    },
)


@pytest.mark.slow
def test_models_that_predict_pixels_show_what_they_predict(tmp_path: Path) -> None:
    data = "scenes:tiny,train=16,validation=4,test=4,maps=classes+depth"
    for arm, name, numbers in [
        ("segment,columns=image+classes", "segmenter", {"accuracy", "accuracy near borders"}),
        ("multimae", "masked", {"visible patches", "squared error of hidden pixels"}),
        ("cim", "masked", {"overlap"}),
    ]:
        folder = tmp_path / arm
        run(Run(arm, data, RECIPE), folder, test=False)
        sections = diagnose_model(folder, names=OF_PLACES)["sections"]
        assert set(sections[name]["numbers"]) == numbers
        assert all(0 <= value <= 1 for value in sections[name]["numbers"].values() if value is not None)
        (other,) = {"segmenter", "masked"} - {name}
        assert sections[other]["sentence"].startswith("Not measured: the model ")
        assert "<svg" in (folder / PAGE).read_text().partition(sections[name]["title"])[2]
