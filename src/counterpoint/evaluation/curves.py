"""Test error against the number of training examples, for several classifiers on the same features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .classifiers import Classifier, logistic, naive_bayes

PAPERS = {"naive-bayes-linear-eval": ("learning_curve",)}


@dataclass(frozen=True)
class LearningCurve:
    """Errors of classifiers by the number of training examples.

    Attributes:
        sizes: numbers of training examples, ascending.
        errors: a classifier's name to its test errors ``(sizes, subsets)``.
    """

    sizes: tuple[int, ...]
    errors: Mapping[str, Float[np.ndarray, "sizes subsets"]]

    def crossover(self, earlier: str = "naive_bayes", later: str = "logistic") -> int | None:
        """Return the smallest size at which ``later`` has the lower mean error; None if it never has."""
        better = self.errors[later].mean(1) < self.errors[earlier].mean(1)
        return self.sizes[int(better.argmax())] if better.any() else None

    def reaches(self, classifier: str, error: float) -> int | None:
        """Return the smallest size at which the mean error is below ``error``; None if it never is."""
        below = self.errors[classifier].mean(1) < error
        return self.sizes[int(below.argmax())] if below.any() else None


def class_complete(y: Int[np.ndarray, " n"], size: int, rng: np.random.Generator) -> Int[np.ndarray, " size"]:
    """Draw positions of a random subset in which every class occurs.

    One example of each class is drawn first, the rest from all others.

    Raises:
        ValueError: if ``size`` is smaller than the number of classes or larger than ``n``.
    """
    classes = np.unique(y)
    if not len(classes) <= size <= len(y):
        raise ValueError(
            f"size={size}: a subset must hold all {len(classes)} classes and be drawn from {len(y)} examples"
        )
    order = rng.permutation(len(y))
    first = order[np.unique(y[order], return_index=True)[1]]
    rest = order[~np.isin(order, first)]
    return np.concatenate([first, rest[: size - len(first)]])


def learning_curve(
    train: Float[np.ndarray, "n d"],
    train_classes: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    test_classes: Int[np.ndarray, " m"],
    sizes: Sequence[int],
    *,
    subsets: int = 5,
    seed: int = 0,
    classifiers: Mapping[str, Classifier] | None = None,
) -> LearningCurve:
    """Train on random class-complete subsets of each size and test on all test examples.

    Args:
        train, train_classes: features to draw from; classes are 0, 1, ….
        test, test_classes: where errors are measured.
        sizes: training sizes.
        subsets: random subsets per size; all classifiers see the same ones.
        seed: of the subsets.
        classifiers: naive Bayes and logistic regression unless given.

    Raises:
        ValueError: if a size cannot hold every class or exceeds the training examples, or there are fewer
            than two classes.

    Source: naive-bayes-linear-eval (Zheng et al. 2023), its protocol. It redraws a subset that misses a
    class; here one example of each class is drawn first, which ends also where a class is rare.
    """
    if len(np.unique(train_classes)) < 2:
        raise ValueError("a learning curve needs at least two classes in train_classes")
    classifiers = classifiers or {"naive_bayes": naive_bayes, "logistic": logistic}
    k = int(max(train_classes.max(), test_classes.max())) + 1
    errors = {name: np.zeros((len(sizes), subsets)) for name in classifiers}
    for i, size in enumerate(sorted(sizes)):
        for j in range(subsets):
            chosen = class_complete(train_classes, size, np.random.default_rng([seed, size, j]))
            for name, predict in classifiers.items():
                predicted = predict(train[chosen], train_classes[chosen], test, k)
                errors[name][i, j] = np.mean(predicted != test_classes)
    return LearningCurve(tuple(sorted(sizes)), errors)
