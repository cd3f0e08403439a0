"""Classes of two subclasses as vectors, and a linear encoder that descends the spectral contrastive loss on them.

Source: Xue et al., "Which Features are Learnt by Contrastive Learning? On the Role of Simplicity Bias in Class Collapse
and Feature Suppression" (2023), arXiv 2305.16536. The world is written here from a summary; symbols may differ.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..forms import NonNegative
from ..ranges import Checked

PAPERS = {"cl-simplicity-bias": ("Subclasses", "spectral_descent")}


class SubclassExamples(NamedTuple):
    """Examples of `Subclasses`.

    Attributes:
        x: the examples.
        classes, subclasses: 0 or 1 each; every class has both subclasses.
    """

    x: Float[np.ndarray, "n d"]
    classes: Int[np.ndarray, " n"]
    subclasses: Int[np.ndarray, " n"]


@dataclass(frozen=True)
class Subclasses(Checked):
    """Two classes of two subclasses each, and features that are neither's.

        x = (y · class_strength + offset) e₁ + y' · subclass_strength · e₂ + r · irrelevant_k · e₂₊ₖ + N(0, noise²/d I)

    y and y' are ±1, every combination as often as any other, exactly; r is ±1, k any of the irrelevant features. The
    first directions are those of coordinates: other orthonormal ones are the same world.

    Args:
        dimension: d.
        class_strength, subclass_strength: how large the features are.
        irrelevant: how large each of the others is; a large one is an easy feature.
        offset: keeps the mean of the class feature off 0, which the paper's proofs need.
        noise: the length of the noise, about.

    Raises:
        ValueError: for fewer dimensions than features, or a negative noise.
    """

    dimension: int = 100
    class_strength: float = 1.0
    subclass_strength: float = 1.0
    irrelevant: tuple[float, ...] = ()
    offset: float = 0.5
    noise: NonNegative = 1.0

    def __post_init__(self) -> None:
        if self.dimension < 2 + len(self.irrelevant):
            raise ValueError(
                f"dimension={self.dimension} must be at least {2 + len(self.irrelevant)}, one for each feature"
            )

    def sample(self, n: int, rng: np.random.Generator) -> SubclassExamples:
        """Draw examples, balanced exactly.

        Raises:
            ValueError: for a number that four does not divide: what is left over would not vanish from means.
        """
        if n < 4 or n % 4:
            raise ValueError(f"n={n}: four combinations of class and subclass need a multiple of four")
        combination = rng.permutation(n) % 4
        y, sub = combination % 2, combination // 2
        x = rng.standard_normal((n, self.dimension)) * (self.noise / np.sqrt(self.dimension))
        x[:, 0] += (2 * y - 1) * self.class_strength + self.offset
        x[:, 1] += (2 * sub - 1) * self.subclass_strength
        if self.irrelevant:
            k = rng.integers(len(self.irrelevant), size=n)
            x[np.arange(n), 2 + k] += rng.choice([-1.0, 1.0], n) * np.asarray(self.irrelevant)[k]
        return SubclassExamples(x, y, sub)


class Pull(NamedTuple):
    """One spectral contrastive loss of a linear encoder, as far as data enters it.

        L(W) = −2 tr(W S₊ Wᵀ) + ‖W S Wᵀ‖²  =  −2 E f(x)·f(x₊) + E (f(x)·f(x₋))²

    Attributes:
        weight: of the loss, where several are added.
        positive: S₊ = E x x₊ᵀ.
        second: S = E x xᵀ.
    """

    weight: float
    positive: Float[np.ndarray, "d d"]
    second: Float[np.ndarray, "d d"]


def second_moment(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "d d"]:
    """Return ``E x xᵀ``, also ``E x x₊ᵀ`` where x₊ is x, seen again without change."""
    return x.T @ x / len(x)


def class_moment(x: Float[np.ndarray, "n d"], classes: Int[np.ndarray, " n"]) -> Float[np.ndarray, "d d"]:
    """Return ``E x x₊ᵀ``, x₊ any example of the class of x, itself too: the second moment of class means.

    >>> x = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> class_moment(x, np.array([1, 1, 0, 0])).tolist()                     # what differs within a class is gone
    [[1.0, 0.0], [0.0, 0.0]]
    """
    means = np.stack([x[classes == k].mean(0) for k in np.unique(classes)])
    of_each = means[np.unique(classes, return_inverse=True)[1]]
    return second_moment(of_each)


def spectral_descent(
    losses: Sequence[Pull],
    start: Float[np.ndarray, "p d"],
    *,
    rate: float,
    steps: int,
    record: Collection[int] = (),
) -> dict[int, Float[np.ndarray, "p d"]]:
    """Run full-batch gradient descent of a linear encoder f(x) = W x on a sum of spectral contrastive losses.

        W ← W − rate · Σ weight · (−4 W S₊ + 4 W S Wᵀ W S)

    From a small start it approaches the minimiser of least norm, which keeps no direction that it does not need. A
    large one ends elsewhere: that is the bias towards simple solutions.

    Args:
        losses: what is descended.
        start: W before the first step.
        rate, steps: of the descent.
        record: after how many steps W is wanted; the last is always there.

    Returns:
        W by the number of steps taken.

    Raises:
        ValueError: if W grows without bound: the rate is too large.
    """
    w, weights = start.copy(), {}
    for step in range(steps + 1):
        if step in record or step == steps:
            weights[step] = w.copy()
        if step == steps:
            break
        gradient = np.zeros_like(w)
        for weight, positive, second in losses:
            ws = w @ second
            gradient += weight * 4 * (ws @ w.T @ ws - w @ positive)
        w -= rate * gradient
        if not np.isfinite(w).all():
            raise ValueError(f"the encoder is not finite after {step + 1} steps: rate={rate} is too large")
    return weights
