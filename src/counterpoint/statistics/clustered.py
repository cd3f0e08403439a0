"""Regression of yes-or-no outcomes on factors of a design, with errors clustered by model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from ..registry import unknown
from .intervals import TInterval

PAPERS = {"image-induced-fidelity-loss": ("clustered_regression",)}

LINKS = ("logit", "identity")
_SEPARATED = 1e-8


def interactions(
    treatment: Float[np.ndarray, " n"], factors: Mapping[str, Float[np.ndarray, " n"]], name: str = "image"
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return the columns of a design in which a treatment may act differently by factor: all main effects and products.

    >>> columns = interactions(np.array([0.0, 1.0]), {"bilingual": np.array([1.0, 1.0])})
    >>> {name: values.tolist() for name, values in columns.items()}
    {'image': [0.0, 1.0], 'bilingual': [1.0, 1.0], 'image × bilingual': [0.0, 1.0]}
    """
    products = {f"{name} × {factor}": treatment * values for factor, values in factors.items()}
    return {name: treatment, **factors, **products}


def clustered_regression(
    outcomes: Float[np.ndarray, " n"],
    columns: Mapping[str, Float[np.ndarray, " _"]],
    clusters: Shaped[np.ndarray, " n"],
    *,
    link: str = "logit",
    confidence: float = 0.95,
) -> dict[str, TInterval]:
    """Fit ``P(y = 1) = σ(β₀ + Σ β_k x_k)``, or without σ, with errors that hold when examples of a cluster go together.

    Errors are the sandwich ``A⁻¹ (Σ_g s_g s_gᵀ) A⁻¹`` over clusters g, s_g the sum of a cluster's scores, times
    G/(G−1) · (n−1)/(n−p); intervals are t with G − 1 degrees of freedom. Answers of one model are no independent
    examples: the clusters are models.

    Args:
        outcomes: 0 or 1; any number for ``link="identity"``.
        columns: by name; see `interactions`. An intercept is added.
        clusters: the cluster of each outcome.
        link: ``"logit"`` gives log-odds ratios, ``"identity"`` (a linear probability model) differences of shares,
            which exist also where some cell has only ones.
        confidence: of the intervals.

    Returns:
        An interval for each column and ``"intercept"``.

    Raises:
        UnknownNameError: for another link.
        ValueError: for lengths that differ, a number that is not finite, outcomes other than 0 and 1 under a logit,
            columns that determine one another, fewer than two clusters, or a logit whose columns separate the outcomes.

    Source: Liang and Zeger, "Longitudinal Data Analysis Using Generalized Linear Models" (1986).

    >>> y, x = np.array([0.0, 1, 0, 1, 1, 1, 0, 1]), np.array([0.0, 0, 0, 0, 1, 1, 1, 1])
    >>> fit = clustered_regression(y, {"x": x}, np.array([0, 1, 2, 3, 0, 1, 2, 3]))
    >>> round(fit["x"].estimate, 4)          # log odds 3 − log odds 1
    1.0986
    """
    if link not in LINKS:
        raise unknown("link", link, LINKS)
    lengths = {
        "outcomes": len(outcomes),
        **{name: len(c) for name, c in columns.items()},
        "clusters": len(clusters),
    }
    if len(set(lengths.values())) > 1:
        raise ValueError(f"outcomes, columns and clusters must be of one length, got {lengths}")
    y, x = outcomes.astype(np.float64), np.stack([np.ones(len(outcomes)), *columns.values()], 1)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("outcomes and columns must be finite: leave out what was not measured")
    if link == "logit" and not np.isin(y, (0.0, 1.0)).all():
        raise ValueError("a logit needs outcomes that are 0 or 1")
    if np.linalg.matrix_rank(x) < x.shape[1]:
        raise ValueError(
            f"the columns {', '.join(columns)} determine one another: leave some out, or vary more"
        )
    _, group = np.unique(clusters, return_inverse=True)
    many = int(group.max()) + 1 if len(group) else 0
    if many < 2:
        raise ValueError(f"errors clustered by model need at least two models, got {many}")
    beta, fitted, weight = _fit(x, y, link)
    bread = np.linalg.inv(x.T @ (weight[:, None] * x))
    scores = np.zeros((many, x.shape[1]))
    np.add.at(scores, group, (y - fitted)[:, None] * x)
    scale = many / (many - 1) * (len(y) - 1) / max(len(y) - x.shape[1], 1)
    covariance = bread @ (scores.T @ scores) @ bread * scale
    errors = np.sqrt(np.diag(covariance))
    return {
        name: TInterval(float(b), float(e), many - 1, confidence)
        for name, b, e in zip(["intercept", *columns], beta, errors, strict=True)
    }


def _fit(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, " n"], link: str) -> Any:
    """Return the coefficients, fitted outcomes, and each outcome's weight in the information."""
    if link == "identity":
        beta = np.linalg.lstsq(x, y, rcond=None)[0]
        return beta, x @ beta, np.ones(len(y))
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(y)) < 2:
        raise ValueError("all outcomes are the same: there is nothing to explain")
    model = LogisticRegression(
        C=np.inf, fit_intercept=False, solver="newton-cholesky", tol=1e-10, max_iter=200
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # where outcomes are separated it cannot converge, which is said below
        beta = model.fit(x, y).coef_[0]
    p = 1 / (1 + np.exp(-x @ beta))
    if (p * (1 - p)).min() < _SEPARATED:
        raise ValueError(
            "some columns separate the outcomes (a cell has only ones or only zeros), so log-odds are infinite: pass "
            "link='identity' for differences of shares"
        )
    return beta, p, p * (1 - p)
