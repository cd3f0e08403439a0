"""Naive Bayes as a linear classifier: one variance per dimension, shared by all classes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from ..forms import Count, NonNegative
from ..ranges import Checked

PAPERS = {"naive-bayes-linear-eval": ("PooledNaiveBayes",)}


class PooledNaiveBayes(Checked):
    """Gaussian naive Bayes with pooled variances, which makes it linear in the features.

    ``score_k(x) = log π_k − ½ Σ_d (x_d − μ_kd)² / σ²_d`` with class frequencies π, class means μ and the
    pooled variance ``σ²_d = Σ_k π_k var_kd + eps``. Up to a term that all classes share, this is ``w_k · x +
    b_k`` with ``w_k = μ_k / σ²`` and ``b_k = log π_k − ½ Σ_d μ²_kd / σ²_d``. (scikit-learn's ``GaussianNB``
    has variances per class and is quadratic.)

    It learns from any number of batches, in any order, with the same result as from all at once. A dimension
    that has not varied within any class would get nearly infinite weight, so it is left out, unless none has
    varied: then all count alike (nearest mean). A class that has not occurred is never predicted.

    Args:
        classes: how many classes there are.
        eps: added to every variance.

    Source: naive-bayes-linear-eval (Zheng et al. 2023).

    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [4.0, 1.0], [5.0, 0.0]])
    >>> classifier = PooledNaiveBayes(2).update(x, np.array([0, 0, 1, 1]))
    >>> classifier.predict(np.array([[2.0, 0.0], [3.0, 0.0]])).tolist()
    [0, 1]
    """

    def __init__(self, classes: Count, eps: NonNegative = 1e-9) -> None:
        self.classes, self.eps = classes, eps
        self.counts = np.zeros(classes)
        self.means = np.zeros((classes, 0))
        self.squares = np.zeros(0)

    def update(self, x: Float[np.ndarray, "n d"], y: Int[np.ndarray, " n"]) -> PooledNaiveBayes:
        """Learn from a batch of features and their classes.

        Raises:
            ValueError: if a class is out of range, or the number of dimensions has changed.
        """
        if len(y) and not (y.min() >= 0 and y.max() < self.classes):
            raise ValueError(
                f"y holds classes {y.min()} to {y.max()}; with classes={self.classes} "
                f"they are 0 to {self.classes - 1}"
            )
        x = np.asarray(x, dtype=np.float64)
        if not self.means.shape[1]:
            self.means, self.squares = np.zeros((self.classes, x.shape[1])), np.zeros(x.shape[1])
        if x.shape[1] != self.means.shape[1]:
            raise ValueError(f"x has {x.shape[1]} dimensions, earlier batches had {self.means.shape[1]}")
        for k in np.unique(y):
            new = x[y == k]
            before, after = self.counts[k], self.counts[k] + len(new)
            shift = new.mean(0) - self.means[k]
            # Two groups' squared deviations add up to those of their union, less what their means differ by.
            self.squares += np.square(new - new.mean(0)).sum(0) + before * len(new) / after * shift**2
            self.means[k] += len(new) / after * shift
            self.counts[k] = after
        return self

    @property
    def variance(self) -> Float[np.ndarray, " d"]:
        """The pooled variance of every dimension, ``eps`` included."""
        return self.squares / self.counts.sum() + self.eps

    def linear(self) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, " k"]]:
        """Return the weights and biases of the linear form.

        Raises:
            ValueError: before the first example.
        """
        if not self.counts.sum():
            raise ValueError("the classifier has seen no examples: call update first")
        varies = self.variance > 2 * self.eps
        if not varies.any():
            varies[:] = True
        weights = np.where(varies, self.means / self.variance, 0.0)
        with np.errstate(divide="ignore"):
            bias = np.log(self.counts / self.counts.sum()) - 0.5 * (weights * self.means).sum(1)
        return weights, bias

    def decision_function(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        weights, bias = self.linear()
        return np.asarray(x, dtype=np.float64) @ weights.T + bias

    def predict(self, x: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
        return self.decision_function(x).argmax(1)
