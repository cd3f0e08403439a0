"""``{seed}`` in an arm: each run begins from the run of another study with the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from counterpoint.cli import main
from counterpoint.recipes import load, override
from counterpoint.study.design import ArmPlan, Design
from counterpoint.study.layout import run_folder
from counterpoint.study.training import runner
from counterpoint.study.training.run import TrainingRun
from counterpoint.study.training.study import compare
from counterpoint.training.run import Run
from counterpoint.training.start import load as load_run

RECIPE = override(load("seconds"), {"steps": 1, "batch_size": 8, "log_every": 1})


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of two seeds."""
    folder = tmp_path_factory.mktemp("begun")
    for seed in (0, 1):
        TrainingRun(
            Run("ntxent,on=images", "digits", RECIPE, seed), folder / f"seed-{seed}", test=False
        ).work(lambda _: None)
    return folder


def test_run_of_a_design_has_its_seed_in_place_of_the_word(begun: Path) -> None:
    arm = f"ntxent,on=images,image=mlp@{begun}/seed-{{seed}}"
    design = Design((arm, f"{arm},tune=none"), data="digits", seeds=(0, 1), recipe=RECIPE)
    assert design.run(arm, 1, ArmPlan(1)).arm == f"ntxent,on=images,image=mlp@{begun}/seed-1"
    # A model that is read and not trained is another one under every seed.
    assert design.seeds_of(f"{arm},tune=none") == (0, 1)
    assert design.seeds_of("mlp@weights,tune=none") == (0,)


def test_comparison_pairs_runs_by_seed(begun: Path, tmp_path: Path) -> None:
    arm = f"mlp@{begun}/seed-{{seed}},on=images,tune=none"
    study = compare(
        arm, folder=tmp_path / "study", jobs=1, data="digits", seeds=2, recipe=RECIPE, tasks=["probe"]
    )
    for seed in (0, 1):
        folder = run_folder(study.folder, next((study.folder / "runs").iterdir()).name, seed)
        assert Run.read(folder).arm == f"mlp@{begun}/seed-{seed},on=images,tune=none"
        ours, theirs = load_run(folder).image_tower, load_run(begun / f"seed-{seed}").image_tower
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert [learned.learns for learned in study.summary.arms] == ["seed-0 (trained on pictures)"]


def test_one_run_takes_its_own_seed_too(
    begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arm = f"ntxent,on=images,from={begun}/seed-{{seed}}"
    runner.train(arm, "digits", recipe=RECIPE, seed=1, folder=tmp_path / "python", tasks=["probe"])
    assert Run.read(tmp_path / "python").arm == f"ntxent,on=images,from={begun}/seed-1"
    words = ["train", arm, "--data", "digits", "--recipe", "seconds", "--steps", "1", "--dry-run"]
    assert main([*words, "--seed", "7"]) != 0
    assert "seed-7 is neither a run's folder" in capsys.readouterr().err
