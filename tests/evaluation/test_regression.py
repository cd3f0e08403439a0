from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error
from sklearn.preprocessing import StandardScaler

from counterpoint.data.labels import Numbers
from counterpoint.evaluation import create
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks.regression import ordinality, ridge
from fixtures.tiny import Oracle, Pixels, TinyData, TraitsData


def test_ridge_scikit_learns_best_penalty_standardised_features() -> None:
    rng = np.random.default_rng(0)
    x, test = rng.normal(size=(60, 5)) * 9, rng.normal(size=(20, 5)) * 9
    y = x @ rng.normal(size=5) + rng.normal(size=60)
    scaler = StandardScaler().fit(x)
    by_penalty = [
        Ridge(alpha).fit(scaler.transform(x), y).predict(scaler.transform(test))
        for alpha in np.logspace(-3, 3, 13)
    ]
    found = ridge(x, y, test)
    assert min(np.abs(found - predicted).max() for predicted in by_penalty) < 1e-6
    assert np.corrcoef(found, by_penalty[0])[0, 1] > 0.99


def test_order_of_embeddings_by_scipy_and_its_ends() -> None:
    rng = np.random.default_rng(0)
    y, others = rng.random(12), np.arange(3, 12)
    angle = torch.from_numpy(y)
    z = torch.stack([angle.cos(), angle.sin()], 1)
    np.testing.assert_allclose(ordinality(Pixels(), z, y, others), 1)
    z = torch.nn.functional.normalize(torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    found = ordinality(Pixels(), z, y, others)
    for i in range(12):
        kept = others[others != i]
        expected = spearmanr(np.abs(y[kept] - y[i]), (z[kept] - z[i]).norm(dim=1)).statistic
        assert found[i] == pytest.approx(expected)
    assert (ordinality(Pixels(), z, np.ones(12), others) == 0).all()
    assert np.isnan(ordinality(Pixels(), z[:2], y[:2], np.arange(2))).all()


def test_errors_by_shot_are_of_ranges_with_few_training_rows() -> None:
    data = TraitsData()
    y = np.where(np.arange(70) % 10 == 0, 9.0, np.arange(70) % 2)
    y[5] = np.nan
    data.labels = {"count": Numbers(y)}
    train, rows = data.splits.train, np.arange(70)
    images = torch.randn(70, 4, generator=torch.Generator().manual_seed(0))
    scores = create("regression")(Oracle(data, images, {}), data, rows)
    truth, read = (scores.examples[name].to_numpy() for name in ("count", "ridge_count"))
    assert np.isnan(truth.astype(float)).sum() == 1
    known = ~np.isnan(truth.astype(float))
    assert scores.value("ridge_count_mae") == pytest.approx(mean_absolute_error(truth[known], read[known]))
    # All have fewer than 20 training rows, so that terciles tell them apart.
    few = y == 9
    assert (y[train] == 9).sum() < min((y[train] == 0).sum(), (y[train] == 1).sum()) < 20
    assert scores.value("ridge_count_few_mae") == pytest.approx(mean_absolute_error(truth[few], read[few]))
    assert scores.constant("ridge_count_mae") == pytest.approx(np.abs(y[known] - np.median(y[known])).mean())
    assert not scores.metrics["ridge_count_mae"].higher_is_better


def test_data_without_numbers_are_refused_by_what_they_have() -> None:
    with pytest.raises(
        NotApplicableError, match="labels that are numbers, and 'tiny' has group, subgroup, tone, gender"
    ):
        create("regression")(Pixels(), TinyData(), np.arange(9))
