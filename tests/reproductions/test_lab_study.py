"""Studies of the laboratory: registered methods trained as users train them, once, and their numbers as scores."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from counterpoint.data import load as data
from counterpoint.study import compare
from counterpoint.study.summary import read_results
from counterpoint.study.training.tuning import TUNING_SEED
from counterpoint.training.record.metrics import read_metrics
from counterpoint.training.run import Run
from counterpoint.training.start import load
from counterpoint_reproductions.lab import Lab, TrainedStudy, TrainingComparison
from counterpoint_reproductions.lab import lab as lab_module
from counterpoint_reproductions.lab import study as study_module

SMALL = TrainingComparison(
    {
        "m = 0": "moco,momentum=0,queue=64",
        "m = 0.9": "moco,momentum=0.9,queue=64",
        "K = 64": "moco,momentum=0.9,queue=64",
    },
    {"probe": ("knn_*_top1",)},
    changes={"steps": 3, "batch_size": 16, "log_every": 1},
    seeds=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def study(folder: Path) -> TrainedStudy:
    return Lab(folder).study(SMALL)


@pytest.mark.slow
def test_its_runs_are_those_of_compare(study: TrainedStudy, tmp_path: Path) -> None:
    design = SMALL.design((0, 1))
    place = tmp_path / "study"
    compare(*design.arms, folder=place, jobs=1, data="digits", seeds=2, recipe=design.recipe, tasks=["probe"])
    key = study.key("probe knn_digit_top1")
    theirs = read_results(design, place).numbers.outcomes(key)
    for name, outcomes in study.outcomes(key).items():
        for seed in (0, 1):
            assert np.array_equal(np.asarray(outcomes[seed]), np.asarray(theirs[SMALL.arms[name]][seed]))


def test_same_arm_under_two_names_is_trained_once_and_is_one_arm(study: TrainedStudy) -> None:
    accuracy = study.scores("probe knn_digit_top1")
    assert study.folder("m = 0.9", 0) == study.folder("K = 64", 0)
    gap = (accuracy["m = 0.9"] - accuracy["K = 64"]).measure()
    assert (gap.estimate, gap.low, gap.high) == (0, 0, 0)
    assert (accuracy["m = 0.9"] - accuracy["m = 0"]).label == "m = 0.9 − m = 0"


def test_numbers_of_runs_are_scores_too(study: TrainedStudy) -> None:
    spread = study.diagnostics("uniformity_image")["m = 0"].measure()
    assert spread.n_seeds == 2
    assert spread.estimate is not None
    assert np.isfinite(spread.estimate)
    assert study.logged("loss")["m = 0"].measure().n_seeds == 2


def test_what_runs_logged_is_read_at_its_ends_or_in_the_mean(study: TrainedStudy) -> None:
    runs = [read_metrics(study.folder("m = 0", seed)) for seed in (0, 1)]
    losses = [run.filter(pl.col("name") == "loss").sort("step")["value"].to_list() for run in runs]
    expected = {
        "start": np.mean([loss[0] for loss in losses]),
        "end": np.mean([loss[-1] for loss in losses]),
        "mean": np.mean([np.mean(loss) for loss in losses]),
    }
    for of, value in expected.items():
        found = study.logged("loss", of)["m = 0"].measure()  # type: ignore[arg-type] # names of the three
        assert found.estimate == pytest.approx(value)
    assert len(set(expected.values())) == 3


def test_an_unknown_metric_or_arm_names_those_that_there_are(study: TrainedStudy) -> None:
    with pytest.raises(KeyError, match=r"retrieval i2t_R@1.*probe knn_digit_top1"):
        study.scores("retrieval i2t_R@1")
    with pytest.raises(KeyError, match=r"m = 1.*m = 0, m = 0.9, K = 64"):
        study.scores("probe knn_digit_top1")["m = 1"]


def test_nothing_is_trained_twice(study: TrainedStudy, folder: Path) -> None:
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
    lab = Lab(folder)
    lab.study(SMALL)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")} == files
    assert lab.reused > 0


def test_a_run_begins_where_that_of_its_own_seed_ended(tmp_path: Path) -> None:
    lab, changes = Lab(tmp_path), {**SMALL.changes, "towers.image": "cnn"}
    first = lab.study(replace(SMALL, arms={"clip": "clip"}, changes=changes), "first")
    started = {"started": f'clip,image="cnn@{first.each("clip")}",tune=frozen'}
    second = lab.study(replace(SMALL, arms=started, changes=changes), "second")
    for seed in (0, 1):
        ended, begun = (
            load(study.folder(name, seed)).state_dict()
            for study, name in ((first, "clip"), (second, "started"))
        )
        towers = [name for name in ended if name.startswith("towers.image.")]
        assert towers
        assert all(torch.equal(ended[name], begun[name]) for name in towers)


def test_trial_of_a_rate_begins_where_the_run_of_its_seed_ended(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    first = lab.study(replace(SMALL, arms={"clip": "clip"}, seeds=(0, TUNING_SEED)), "first")
    started = {"started": f'clip,from="{first.each("clip")}"'}
    rated = replace(SMALL, arms=started, rates=(1e-3, 3e-3), seeds=1)
    lab.study(rated, "second")
    trials = sorted((tmp_path / "second" / "tuning").rglob("run.json"))
    assert [Run.read(trial.parent).arm for trial in trials] == [
        f'clip,from="{first.folder("clip", TUNING_SEED)}"'
    ] * 2
    shutil.rmtree(first.folder("clip", TUNING_SEED))
    with pytest.raises((ValueError, FileNotFoundError), match=str(TUNING_SEED)):
        lab.study(rated, "third")


def test_run_of_seed_nothing_trains_on_another_model_under_each(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    first = lab.study(replace(SMALL, arms={"clip": "clip"}), "first")
    kept = {"kept": f'clip,from="{first.each("clip")}",tune=none'}
    second = lab.study(replace(SMALL, arms=kept), "second")
    assert second.diagnostics("uniformity_image")["kept"].measure().n_seeds == 2
    metric = "probe knn_digit_top1"
    ended, same = (
        study.scores(metric)[name].measure().estimate for study, name in ((first, "clip"), (second, "kept"))
    )
    assert ended == same


def test_test_sets_are_pooled_example_by_example(tmp_path: Path) -> None:
    arms = {"clip": "clip"}
    found = Lab(tmp_path).study(replace(SMALL, arms=arms, data="emoji", tasks={"probe,labels=gender": ()}))
    metric = "probe,labels=gender knn_gender_top1"
    parts = [
        np.asarray(found.scores(metric, test).arms["clip"].outcomes[0])
        for test in ("compositions", "concepts")
    ]
    pooled = found.pooled(metric)
    assert pooled.metric == metric
    assert np.array_equal(np.asarray(pooled.arms["clip"].outcomes[0]), np.concatenate(parts))


def test_models_are_scored_on_other_data_too(study: TrainedStudy) -> None:
    metric = "probe,labels=digit knn_digit_top1"
    same, other = (study.on(data(name), metric) for name in ("digits", "digits:stream"))
    assert same["m = 0"].metric == "probe knn_digit_top1, on digits"
    expected = study.scores("probe knn_digit_top1")
    for name in study.arms:
        assert same[name].measure() == expected[name].measure()
        assert (same[name] - expected[name]).measure().high == 0
    assert len(other["m = 0"].arms[0].outcomes[1]) == 597


def test_task_is_asked_about_other_data_once_for_all_its_metrics(
    study: TrainedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, task = data("digits:stream"), "probe,labels=digit"
    nearest = study.on(other, f"{task} knn_digit_top1")
    monkeypatch.delattr(study_module, "load_run")
    assert study.on(other, f"{task} logistic_digit_top1")["m = 0"].measure() != nearest["m = 0"].measure()


def test_learning_rate_is_chosen_by_validation_under_seed_of_own(tmp_path: Path) -> None:
    arms, changes = {"clip": "clip"}, {"steps": 20, "batch_size": 64}
    found = Lab(tmp_path).study(replace(SMALL, arms=arms, rates=(1e-9, 1e-2), changes=changes))
    assert found.plans["clip"].changes == {"optimizer.lr": 1e-2}
    assert Run.read(found.folder("clip", 0)).recipe.optimizer.lr == 1e-2
    assert len(list((tmp_path / "study/tuning").rglob("run.json"))) == 2


def test_best_candidate_of_an_arm_on_validation_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = {"moco": "moco,queue=64", "clip": "clip"}
    scores = {"moco,queue=64": -np.inf, "moco,queue=32": 0.3, "moco,queue=16": 0.2}
    monkeypatch.setattr(lab_module, "validation_score", lambda trial: scores[trial.parent.name])
    comparison = replace(SMALL, arms=arms, candidates={"moco": ("moco,queue=32", "moco,queue=16")})
    found = Lab(tmp_path).study(comparison)
    assert found.arms == {"moco": "moco,queue=32", "clip": "clip"}
    trials = [Run.read(trial.parent) for trial in (tmp_path / "study, candidates").rglob("run.json")]
    assert {(run.arm, run.seed) for run in trials} == {(arm, TUNING_SEED) for arm in scores}
    monkeypatch.setattr(lab_module, "validation_score", lambda trial: -np.inf)
    with pytest.raises(RuntimeError, match="every trial of 'moco' failed"):
        Lab(tmp_path).study(comparison)


@pytest.mark.slow
def test_arms_of_one_rate_take_the_best_in_the_mean_over_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = {"K = 64": "moco,queue=64", "K = 32": "moco,queue=32"}
    scores = {"moco,queue=64": (0.6, 0.5), "moco,queue=32": (0.3, 0.5)}
    monkeypatch.setattr(
        lab_module, "validation_score", lambda trial: scores[trial.parent.name][int(trial.name[-1])]
    )
    found = Lab(tmp_path).study(replace(SMALL, arms=arms, rates=(1e-3, 1e-2), one_rate=True))
    assert [plan.changes for plan in found.plans.values()] == [{"optimizer.lr": 1e-2}] * 2


def test_one_rate_is_not_chosen_where_at_each_some_trial_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = {"K = 64": "moco,queue=64", "K = 32": "moco,queue=32"}
    failed = {"moco,queue=64": (-np.inf, 0.5), "moco,queue=32": (0.3, -np.inf)}
    monkeypatch.setattr(
        lab_module, "validation_score", lambda trial: failed[trial.parent.name][int(trial.name[-1])]
    )
    monkeypatch.setattr(Lab, "_train", lambda lab, title, runs: None)
    with pytest.raises(RuntimeError, match=r"every learning rate \(0\.001, 0\.01\) a trial failed"):
        Lab(tmp_path).study(replace(SMALL, arms=arms, rates=(1e-3, 1e-2), one_rate=True))


def test_a_smoke_run_trains_the_ends_and_builds_every_arm(tmp_path: Path) -> None:
    lab = Lab(tmp_path, quick=True)
    found = lab.study(SMALL)
    assert len(list((tmp_path / "study/runs").iterdir())) == 2
    found.scores("probe knn_digit_top1")["m = 0.9"].measure()
    wrong = {"a": "moco", "b": "moco,momentun=1", "c": "moco,queue=8"}
    with pytest.raises(ValueError, match="momentun"):
        lab.study(replace(SMALL, arms=wrong), "wrong")
