"""Summaries of studies whose runs are unfinished, and of arms that little is known of."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoint.recipes import load as load_recipe
from counterpoint.study import summary as summaries
from counterpoint.study.layout import run_folder
from counterpoint.study.study import resummarise
from counterpoint.study.words.learning import learns_from
from counterpoint.training.run import Run, RunState
from fixtures.synthetic_study import write_data, write_study


@pytest.fixture
def study(tmp_path: Path) -> Path:
    data = write_data(tmp_path / "data")
    write_study(tmp_path / "study", str(data / "metadata.csv"), arms=("clip", "slip"), failed=None)
    return tmp_path / "study"


def test_an_unfinished_run_is_not_called_failed(study: Path) -> None:
    run = run_folder(study, "slip", 1)
    RunState("running", "", 10, 10, {"image": 1}, 1.0, 1, 1, 1).write(run)
    found = resummarise(study).summary
    clip, slip = found.arms
    assert (clip.failed, slip.failed) == ((), ())
    assert (clip.unfinished, slip.unfinished) == ((), (1,))
    for difference in found.differences:
        assert (difference.n_failed, difference.n_seeds) == (0, 2)
        assert "seeds [1] of clip have no partner and were left out" in difference.notes
        assert "fail" not in difference.sentence
    assert any(line.startswith("unfinished and left out: slip (seed 1)") for line in found.warnings)
    assert any(
        line.startswith("slip: 2 finished runs: the 95 % intervals are wide") for line in found.warnings
    )
    assert "failed" not in (study / "table.md").read_text()


def test_a_loss_whose_file_is_gone_learns_from_what_clip_does() -> None:
    recipe = load_recipe("cpu")
    pictures = {"image": "image"}
    assert learns_from(Run("../gone.py:Hinge,margin=0.2", "data", recipe)) == "pictures and captions"
    assert learns_from(Run("gone.py:Hinge,on=images", "data", recipe, columns=pictures)) == "pictures"


def test_what_is_not_known_is_not_told_as_different(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def learns(run: Run) -> str:
        return "pictures and captions" if run.arm == "clip" else ""

    monkeypatch.setattr(summaries, "_learns", learns)
    again = resummarise(study)
    assert [arm.learns for arm in again.summary.arms] == ["pictures and captions", ""]
    said = " ".join([*(d.sentence for d in again.summary.differences), *again.conclusion])
    assert "learn" not in said
