"""Gaussian classes with a known best error: how many examples does a classifier need to come near it?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from ..ranges import Checked
from .classifiers import Classifier
from .curves import class_complete

PAPERS = {"naive-bayes-linear-eval": ("examples_needed",)}

AtLeastTwo = Annotated[int, Field(ge=2)]


@dataclass(frozen=True)
class GaussianClasses(Checked):
    """Equally frequent Gaussian classes with a shared covariance.

    Class k has mean ``c_k · (1, …, 1)`` with ``c = −1, 1, 2, 4, …``. ``easy``: independent dimensions, half
    of variance ``dimensions`` and half of variance 1. ``hard``: plus the off-diagonal of ``AᵀA``, A uniform
    in [−1, 1]; that matrix is not positive, and as in the paper's simulation (where NumPy samples it by its
    singular values) its negative eigenvalues count by their size.

    Args:
        classes: K, at least 2.
        dimensions: n, at least 2.
        covariance: ``"easy"`` or ``"hard"``.

    Source: naive-bayes-linear-eval (Zheng et al. 2023), its simulation.
    """

    classes: AtLeastTwo
    dimensions: AtLeastTwo
    covariance: Literal["easy", "hard"] = "easy"

    @property
    def centres(self) -> Float[np.ndarray, " K"]:
        return np.array([-1.0] + [2.0 ** (k - 1) for k in range(1, self.classes)])

    def _eigen(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n n"]]:
        """Return the eigenvalues and eigenvectors (columns) of the covariance."""
        n = self.dimensions
        diagonal = np.where(np.arange(n) < n // 2, float(n), 1.0)
        if self.covariance == "easy":
            return diagonal, np.eye(n)
        a = np.random.default_rng(0).uniform(-1, 1, (n, n))
        matrix = a.T @ a
        np.fill_diagonal(matrix, diagonal)
        values, vectors = np.linalg.eigh(matrix)
        return np.abs(values), vectors

    def sample(
        self, size: int, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "size n"], Int[np.ndarray, " size"]]:
        """Draw features and classes of ``size`` examples; class frequencies differ by at most one example."""
        y = np.arange(size) % self.classes
        values, vectors = self._eigen()
        noise = (rng.standard_normal((size, self.dimensions)) * np.sqrt(values)) @ vectors.T
        return self.centres[y][:, None] + noise, y

    def bayes_error(self) -> float:
        """Return the error of the best classifier.

        All means lie on one line, so that the problem is one-dimensional: centres c with standard deviation
        ``1/√s``, ``s = 1ᵀ Σ⁻¹ 1``, and the best classifier takes the nearest centre.
        """
        values, vectors = self._eigen()
        s = float((vectors.sum(0) ** 2 / values).sum())
        gaps = np.diff(self.centres)
        tails = [0.5 * math.erfc(gap * math.sqrt(s) / 2 / math.sqrt(2)) for gap in gaps]
        return 2 * sum(tails) / self.classes


def examples_needed(
    problem: GaussianClasses,
    classifier: Classifier,
    *,
    within: float = 0.01,
    repeats: int = 3,
    seed: int = 0,
    test_size: int = 10_000,
) -> int | None:
    """Return the smallest training size at which the mean error is below the Bayes error plus ``within``.

    Sizes go from 2K in steps of ⌈log n⌉ up to 100 n; each repeat has its own pool of training examples and
    its own test set.

    Returns:
        The size, or None where 100 n examples do not suffice.
    """
    n, k = problem.dimensions, problem.classes
    goal = problem.bayes_error() + within
    draws = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        draws.append((*problem.sample(100 * n, rng), *problem.sample(test_size, rng), rng))
    for size in range(2 * k, 100 * n + 1, math.ceil(math.log(n))):
        errors = []
        for x, y, test, truth, rng in draws:
            chosen = class_complete(y, size, rng)
            errors.append(np.mean(classifier(x[chosen], y[chosen], test, k) != truth))
        if np.mean(errors) < goal:
            return size
    return None
