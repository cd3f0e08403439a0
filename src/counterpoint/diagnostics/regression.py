"""Multiple correlation: how well some numbers about models together explain another, over a family of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

PAPERS = {"dense-align-uniform": ("multiple_correlation",)}


@dataclass(frozen=True)
class RegressionFit:
    """A least-squares fit of one number by others, all standardised over M models.

    Attributes:
        r: the multiple correlation √R², in [0, 1]. By chance it is about √(p / (M − 1)) for p predictors.
        coefficients: of each predictor.
        partial: the correlation of each with the outcome, given the others.
        p: the share of permutations of the outcome that reach r, this one among them.
    """

    r: float
    coefficients: Mapping[str, float]
    partial: Mapping[str, float]
    p: float


def multiple_correlation(
    predictors: Mapping[str, Float[np.ndarray, " M"]],
    outcome: Float[np.ndarray, " M"],
    permutations: int = 2000,
    seed: int = 0,
) -> RegressionFit:
    """Fit ``outcome ~ 1 + predictors`` and test it by permutation.

    Models that differ in one factor alone show what that factor does, not what the predictors explain: let
    several vary.

    Args:
        predictors: by name, one number per model.
        outcome: what is explained.
        permutations: of the outcome.
        seed: of the permutations.

    Raises:
        ValueError: if lengths differ, a number is not finite, one of them is the same for all models, or there
            are not two models more than predictors.

    Source: the summary of dense-align-uniform (2022), by standard regression.

    >>> a = np.arange(6.0)
    >>> fit = multiple_correlation({"a": a, "b": a % 2}, 3 - 2 * a)
    >>> round(fit.r, 6), round(fit.coefficients["a"], 6)
    (1.0, -1.0)
    """
    columns = np.stack([*predictors.values(), outcome]) if _even(predictors, outcome) else np.zeros((0, 0))
    m, p = columns.shape[-1], len(predictors)
    if m < p + 2 or not np.isfinite(columns).all() or not columns.std(axis=1).all():
        raise ValueError(
            f"multiple_correlation needs finite numbers that vary, as many of each, for at least {p + 2} models; got "
            f"{ ({name: len(values) for name, values in predictors.items()}) } and {len(outcome)} outcomes"
        )
    x = _standard(columns[:-1]).T
    y = _standard(columns[-1:])[0]
    basis, _ = np.linalg.qr(x)
    r = _r(basis, y)
    rng = np.random.default_rng(seed)
    reached = sum(_r(basis, rng.permutation(y)) >= r - 1e-12 for _ in range(permutations))
    names = list(predictors)
    return RegressionFit(
        r,
        dict(zip(names, np.linalg.lstsq(x, y, rcond=None)[0].tolist(), strict=True)),
        {name: _partial(np.delete(x, k, axis=1), x[:, k], y) for k, name in enumerate(names)},
        (1 + reached) / (1 + permutations),
    )


def _even(predictors: Mapping[str, np.ndarray], outcome: np.ndarray) -> bool:
    return bool(predictors) and {len(values) for values in predictors.values()} == {len(outcome)}


def _standard(rows: np.ndarray) -> np.ndarray:
    return (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)


def _r(basis: np.ndarray, y: np.ndarray) -> float:
    return min(float(np.linalg.norm(basis.T @ y) / np.linalg.norm(y)), 1.0)


def _partial(others: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    a, b = (v - others @ np.linalg.lstsq(others, v, rcond=None)[0] if others.size else v for v in (x, y))
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length > 1e-12 else 0.0
