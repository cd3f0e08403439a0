"""Checks of whether runs were long enough, on curves that are made up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import counterpoint as cp
from counterpoint.data.source import load as load_data
from counterpoint.losses import SigLIPLoss
from counterpoint.recipes import Recipe, override
from counterpoint.recipes.schema import Optimizer
from counterpoint.study.training.convergence import (
    Convergence,
    LearntScalar,
    late_gain,
    learnt_scalars_of,
    validation_curve,
    warnings_of,
)
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from counterpoint.training.step.optim import learning_rate

FLAT = Optimizer(lr=0.01, warmup=0.0, final_lr=1.0)


def curves(shape: Sequence[float], noise: float, seeds: int) -> list[list[tuple[int, float]]]:
    draws = noise * np.random.default_rng(0).standard_normal((seeds, len(shape)))
    values = np.array(shape) + 0.05 * np.arange(seeds)[:, None] + draws
    return [[(10 * k, value) for k, value in enumerate(row, 1)] for row in values.tolist()]


RISING = [0.02 * k for k in range(10)]
SATURATED = [0.3 * (1 - math.exp(-k)) for k in range(10)]


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_curve_that_rises_is_told_from_one_that_has_risen(seeds: int) -> None:
    gain, improving = late_gain(curves(RISING, 0.001, seeds), margin=0.01)
    assert improving
    assert gain == pytest.approx(0.1, abs=0.01)
    gain, improving = late_gain(curves(SATURATED, 0.001, seeds), margin=0.01)
    assert improving is False
    assert gain == pytest.approx(0.002, abs=0.005)


def test_a_level_of_its_own_for_every_seed_is_no_gain() -> None:
    levels = [[(10 * k, 0.2 * seed) for k in range(1, 9)] for seed in range(4)]
    assert late_gain(levels, margin=0.0) == (pytest.approx(0.0), False)


def test_a_rise_within_noise_or_within_the_margin_is_none() -> None:
    assert late_gain(curves(RISING, 0.5, 2), margin=0.01)[1] is False
    assert late_gain(curves(RISING, 0.001, 2), margin=0.2)[1] is False


def test_too_few_numbers_to_tell() -> None:
    assert late_gain([], margin=0.01) == (None, None)
    assert late_gain([[(10, 0.5)]], margin=0.01) == (None, None)
    gain, improving = late_gain([[(10, 0.1), (20, 0.3)]], margin=0.01)
    assert gain == pytest.approx(0.2)
    assert improving is None


def numbers(**series: Sequence[tuple[int, float]]) -> pl.DataFrame:
    rows = [(step, name, value) for name, points in series.items() for step, value in points]
    return pl.DataFrame(rows, schema=["step", "name", "value"], orient="row")


def test_validation_curve_is_the_mean_of_what_tuning_looks_at() -> None:
    frame = numbers(
        **{
            "validation/a/retrieval/i2t_R@1": [(5, 0.1), (10, 0.3)],
            "validation/a/retrieval/t2i_R@1": [(5, 0.3), (10, 0.5)],
            "validation/a/retrieval/t2i_R@10": [(5, 0.9), (10, 0.9)],
            "validation/a/regression/ridge_age_mae": [(5, 9.0), (10, 9.0)],
            "loss": [(1, 3.0), (10, 1.0)],
        }
    )
    assert validation_curve(frame) == [(5, pytest.approx(0.2)), (10, pytest.approx(0.4))]


def scalar(start_at: float, end: float, balanced: float | None = None, turn: bool = False) -> LearntScalar:
    """Return a scalar of 100 steps at a rate of 0.01: it can go 1 in all, and 0.25 in the last quarter."""
    path = {0: start_at, 75: start_at, 100: end} | ({90: start_at - 0.1 * (end - start_at)} if turn else {})
    series = {"learnt/objective.bias": list(path.items()), "loss": [(100, 1.0)]}
    if balanced is not None:
        series["balanced/objective.bias"] = [(0, balanced)]
    (found,) = learnt_scalars_of(numbers(**series), FLAT)
    return found


def test_what_a_scalar_can_go_is_the_sum_of_the_learning_rates() -> None:
    found = scalar(0.0, 0.1)
    assert found.reach == pytest.approx(1.0)
    assert found.pull == pytest.approx(0.4)
    assert found.balanced is None
    assert not found.out_of_reach
    warm = Optimizer(lr=0.01)
    (of_cosine,) = learnt_scalars_of(numbers(**{"learnt/x": [(0, 0.0), (100, 0.1)]}), warm)
    assert of_cosine.reach == pytest.approx(sum(learning_rate(t, 100, warm) for t in range(100)))


def test_a_start_that_the_schedule_cannot_make_up_for() -> None:
    assert scalar(-10.0, -9.9, balanced=-4.8).out_of_reach
    assert not scalar(-5.5, -5.4, balanced=-4.8).out_of_reach


def test_a_scalar_that_is_still_pulled_one_way() -> None:
    assert scalar(0.0, 0.25).still_moving
    assert scalar(0.0, -0.25).still_moving
    assert not scalar(0.0, 0.1).still_moving
    assert not scalar(0.0, 0.25, turn=True).still_moving


def test_numbers_without_learnt_scalars_say_nothing() -> None:
    assert learnt_scalars_of(numbers(loss=[(1, 2.0), (9, 1.0)]), FLAT) == []


def test_warnings_name_the_arm_and_the_way_out() -> None:
    still = Convergence(0.05, True, [])
    done = Convergence(0.0, False, [])
    far = Convergence(0.0, False, [[scalar(-10.0, -9.9, balanced=-4.84)]] * 2)
    pulled = Convergence(0.0, False, [[scalar(0.0, 0.25)]] * 2)
    once = Convergence(0.0, False, [[scalar(0.0, 0.25)], [scalar(0.0, 0.1)]])
    assert warnings_of({"clip": done, "once": once}, tuned=False) == []
    rising, reach, moving = warnings_of({"clip": still, "far": far, "pulled": pulled}, tuned=False)
    assert "clip +5.0" in rising
    assert "More steps may change the order" in rising
    assert reach.startswith("far: objective.bias began at -10.00, 5.16 from the -4.84 that suits the batch")
    assert "could move by 1.00" in reach
    assert "(pulled: objective.bias)" in moving
    assert moving.endswith("--tune N searches for it")
    assert not warnings_of({"pulled": pulled}, tuned=True)[0].endswith("for it")


def test_a_run_keeps_what_it_learnt_and_what_would_be_balanced(what: Run, tmp_path: Path) -> None:
    from counterpoint.training.loop import fit

    data = load_data(what.data, what.recipe.towers.image_size)
    run = replace(what, arm="siglip,bias=-10")
    method, loader = prepare(run, data)
    fit(method, loader, run.recipe, tmp_path)
    ended = Convergence.of([tmp_path], run.recipe.optimizer, margin=0.01)
    scalars = {s.name: s for s in ended.scalars[0]}
    assert set(scalars) == {"objective.bias", "objective.temperature"}
    bias = scalars["objective.bias"]
    assert bias.start == -10.0
    assert bias.balanced == pytest.approx(SigLIPLoss.balanced_bias(loader.batch_size))
    assert bias.end == pytest.approx(float(dict(method.named_parameters())["objective.bias"].detach()))
    assert bias.out_of_reach
    assert ended.named("out_of_reach") == ["objective.bias"]


def test_a_study_says_where_its_runs_were_too_short(pairs: Path, recipe: Recipe, tmp_path: Path) -> None:
    study = cp.compare(
        "clip",
        "siglip,bias=-10",
        data=str(pairs),
        recipe=override(recipe, {"steps": 6}),
        seeds=1,
        tasks=("retrieval",),
        folder=tmp_path / "study",
        jobs=1,
    )
    assert any(
        line.startswith("siglip,bias=-10: objective.bias began at -10.00")
        for line in study.summary.plain()["warnings"]
    )
    rising = [arm["name"] for arm in study.summary.plain()["arms"] if arm["cost"]["improving"]]
    for difference in study.summary.plain()["differences"]:
        if difference["family"] == "main":
            assert ("Still improving" in difference["sentence"]) == bool(rising)
