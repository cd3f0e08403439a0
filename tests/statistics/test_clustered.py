"""Regression with clustered errors against closed forms and against a bootstrap over models."""

from __future__ import annotations

import math

import numpy as np
import pytest

from counterpoint.statistics.clustered import clustered_regression, interactions


def design(seed: int, models: int = 40, each: int = 30) -> dict[str, np.ndarray]:
    """Models with a bilingual backbone or not, asked with a picture and without; they differ in more than that."""
    rng = np.random.default_rng(seed)
    model = np.repeat(np.arange(models), 2 * each)
    image = np.tile(np.repeat([0.0, 1.0], each), models)
    bilingual = (model % 2).astype(float)
    own = rng.normal(0, 0.8, models)[model]
    z = 1.0 - 1.5 * image + 1.0 * image * bilingual + own
    y = (rng.random(len(z)) < 1 / (1 + np.exp(-z))).astype(float)
    return {"y": y, "image": image, "bilingual": bilingual, "model": model}


def odds(p: float) -> float:
    return math.log(p / (1 - p))


def test_a_saturated_design_gives_the_cells_themselves() -> None:
    it = design(0)
    columns = interactions(it["image"], {"bilingual": it["bilingual"]})
    cell = {
        (i, b): float(it["y"][(it["image"] == i) & (it["bilingual"] == b)].mean())
        for i in (0, 1)
        for b in (0, 1)
    }
    log_odds = clustered_regression(it["y"], columns, it["model"])
    shares = clustered_regression(it["y"], columns, it["model"], link="identity")
    for fit, of in ((log_odds, odds), (shares, lambda p: p)):
        value = {key: of(p) for key, p in cell.items()}
        assert fit["intercept"].estimate == pytest.approx(value[0, 0], abs=1e-6)
        assert fit["image"].estimate == pytest.approx(value[1, 0] - value[0, 0], abs=1e-6)
        expected = value[1, 1] - value[0, 1] - value[1, 0] + value[0, 0]
        assert fit["image × bilingual"].estimate == pytest.approx(expected, abs=1e-6)
        assert fit["image × bilingual"].degrees == 39


def test_errors_of_one_answer_model_those_of_independent_answers() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 2, 60).astype(float)
    y = (rng.random(60) < 0.3 + 0.3 * x).astype(float)
    fit = clustered_regression(y, {"x": x}, np.arange(60), link="identity")
    # HC1 of two groups: each group's variance over its size, times n / (n − p).
    variance = sum(y[x == v].var() / (x == v).sum() for v in (0, 1)) * 60 / 58
    assert fit["x"].standard_error == pytest.approx(math.sqrt(variance))


def test_repeating_every_answer_adds_nothing() -> None:
    it = design(2, models=20, each=5)
    columns = {"image": it["image"]}
    once = clustered_regression(it["y"], columns, it["model"], link="identity")
    twice = clustered_regression(
        np.tile(it["y"], 2), {"image": np.tile(it["image"], 2)}, np.tile(it["model"], 2), link="identity"
    )
    assert twice["image"].estimate == pytest.approx(once["image"].estimate)
    assert twice["image"].standard_error == pytest.approx(once["image"].standard_error, rel=0.01)


@pytest.mark.parametrize("link", ["logit", "identity"])
def test_errors_are_those_of_a_bootstrap_over_models(link: str) -> None:
    it = design(3, models=60, each=10)
    columns = interactions(it["image"], {"bilingual": it["bilingual"]})
    fit = clustered_regression(it["y"], columns, it["model"], link=link)
    rng, drawn = np.random.default_rng(0), []
    for _ in range(150):
        rows = np.concatenate([np.flatnonzero(it["model"] == m) for m in rng.integers(0, 60, 60)])
        again = clustered_regression(
            it["y"][rows],
            {name: values[rows] for name, values in columns.items()},
            it["model"][rows],
            link=link,
        )
        drawn.append(again["image × bilingual"].estimate)
    assert fit["image × bilingual"].standard_error == pytest.approx(np.std(drawn), rel=0.25)


def test_bad_input() -> None:
    y, x, model = np.array([0.0, 1, 1, 0]), np.array([0.0, 0, 1, 1]), np.arange(4)
    with pytest.raises(ValueError, match="of one length"):
        clustered_regression(y, {"x": x[:3]}, model)
    with pytest.raises(ValueError, match="finite"):
        clustered_regression(y, {"x": np.array([0.0, np.nan, 1, 1])}, model)
    with pytest.raises(ValueError, match="0 or 1"):
        clustered_regression(y + 0.5, {"x": x}, model)
    with pytest.raises(ValueError, match="determine one another"):
        clustered_regression(y, {"x": x, "twice": 2 * x}, model)
    with pytest.raises(ValueError, match="two models"):
        clustered_regression(y, {"x": x}, np.zeros(4))
    with pytest.raises(ValueError, match="link='identity'"):
        clustered_regression(np.array([0.0, 1, 1, 1]), {"x": x}, model)
    with pytest.raises(ValueError, match="nothing to explain"):
        clustered_regression(np.ones(4), {"x": x}, model)
    with pytest.raises(ValueError, match="unknown link"):
        clustered_regression(y, {"x": x}, model, link="probit")
    shares = clustered_regression(np.array([0.0, 1, 1, 1]), {"x": x}, model, link="identity")
    assert shares["x"].estimate == pytest.approx(0.5)  # which exists also where log-odds do not
