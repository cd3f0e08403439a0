"""Pictures and captions as vectors of latent features, some of them spurious, and the linear model that contrast finds.

Source: Xue et al., "Understanding the Robustness of Multi-modal Contrastive Learning to Distribution Shift" (2023),
arXiv 2310.04971. Its two data models are written here from a summary; constants of its theorems were not compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from ..forms import Fraction, NonNegative
from ..ranges import Checked

AtLeastTwo = Annotated[int, Field(ge=2)]

PAPERS = {"mmcl-robustness": ("InterClass", "IntraClass", "zero_shot_weights")}


class Captioned(NamedTuple):
    """Examples of a world.

    Attributes:
        images, texts: of the same examples.
        classes: of them.
    """

    images: Float[np.ndarray, "n d"]
    texts: Float[np.ndarray, "n d"]
    classes: Int[np.ndarray, " n"]


@dataclass(frozen=True)
class IntraClass(Checked):
    """Two classes whose true feature varies much within a class, and whose spurious one hardly varies.

        y = ±1,   a = y with probability ``agreement``, else −y
        picture   (y + core_spread · N(0, 1),  a + spurious_spread · N(0, 1)),  and noise in all directions
        caption   the same two numbers, each exact with probability ``core_told`` or ``spurious_told``, else y or a

    The two features are the first two coordinates: any other two orthonormal directions are the same world, as the
    noise, N(0, noise² / dimension) in each, has no direction.

    Args:
        dimension: at least 2.
        core_spread, spurious_spread: how much the features vary within a class.
        agreement: how often the spurious feature goes with the class; 1/2 is a world without the shortcut.
        core_told, spurious_told: how much detail captions give; 0 is a caption that names the class alone.
        noise: the length of the noise, about.

    Raises:
        ValueError: for a probability outside [0, 1], a negative spread or noise, or fewer than two dimensions.
    """

    dimension: AtLeastTwo = 2000
    core_spread: NonNegative = 1.0
    spurious_spread: NonNegative = 0.1
    agreement: Fraction = 0.99
    core_told: Fraction = 1.0
    spurious_told: Fraction = 1.0
    noise: NonNegative = 1.0

    @property
    def prompts(self) -> Float[np.ndarray, "2 d"]:
        """The caption of each class that says its true feature, without noise, and nothing else."""
        prompts = np.zeros((2, self.dimension))
        prompts[:, 0] = -1, 1
        return prompts

    def sample(self, n: int, rng: np.random.Generator) -> Captioned:
        y = rng.choice([-1.0, 1.0], n)
        a = np.where(rng.random(n) < self.agreement, y, -y)
        means = np.stack([y, a], 1)
        exact = means + rng.standard_normal((n, 2)) * [self.core_spread, self.spurious_spread]
        stated = np.where(rng.random((n, 2)) < [self.core_told, self.spurious_told], exact, means)
        images, texts = (_noisy(z, self.dimension, self.noise, rng) for z in (exact, stated))
        return Captioned(images, texts, (y > 0).astype(np.int64))

    def limit(self, agreement: float) -> float:
        """Return the zero-shot accuracy that contrast reaches in the limit of many examples, at another agreement.

            w = (1 + core_told · core_spread²,  2 · agreement − 1),    s² = Σ (w_f · spread_f)²
            accuracy = q · Φ((w_core + w_spurious) / s) + (1 − q) · Φ((w_core − w_spurious) / s)

        with q the agreement where it is tested. w is the covariance of each feature of pictures with the true feature
        of captions. The noise, which vanishes with dimension, is left out.

        >>> round(IntraClass(agreement=1.0, spurious_spread=0.0).limit(0.5), 3)
        0.812
        """
        if not 0 <= agreement <= 1:
            raise ValueError(f"agreement={agreement} must be between 0 and 1")
        core, spurious = 1 + self.core_told * self.core_spread**2, 2 * self.agreement - 1
        s = math.hypot(core * self.core_spread, spurious * self.spurious_spread)
        aligned, conflicting = (_phi(w, s) for w in (core + spurious, core - spurious))
        return agreement * aligned + (1 - agreement) * conflicting


@dataclass(frozen=True)
class InterClass(Checked):
    """Two classes for each of m features, which other classes show as a detail.

    Class (k, ±) has +1 or −1 as its feature k; every other feature j is there too, as ±``detail`` at random. Each class
    feature has a spurious twin, which in class k takes the sign of the class with probability ``agreement``, and in
    other classes is ±``detail`` at random. A caption says the class, and each detail with probability ``caption_rate``:
    so where feature k is a detail, as it is in all classes but two, it is told independently of its twin.

    The class (k, −) has number 2k, (k, +) has 2k + 1. Feature k is coordinate k, its twin coordinate m + k.

    Args:
        features: m, at least 2.
        detail: between 0 and 1.
        agreement: as of `IntraClass`.
        caption_rate: how many details a caption gives.
        dimension: at least 2m.
        noise: as of `IntraClass`.

    Raises:
        ValueError: for a probability or a detail outside [0, 1], fewer than two features, or too few dimensions.
    """

    features: AtLeastTwo = 10
    detail: Fraction = 0.5
    agreement: Fraction = 0.99
    caption_rate: Fraction = 1.0
    dimension: int = 500
    noise: NonNegative = 1.0

    def __post_init__(self) -> None:
        if self.dimension < 2 * self.features:
            raise ValueError(
                f"dimension={self.dimension} must be at least twice as many as features={self.features}"
            )

    @property
    def prompts(self) -> Float[np.ndarray, "K d"]:
        """The caption of each class that says its own feature and nothing else."""
        prompts = np.zeros((2 * self.features, self.dimension))
        k = np.arange(self.features)
        prompts[2 * k, k], prompts[2 * k + 1, k] = -1, 1
        return prompts

    def sample(self, n: int, rng: np.random.Generator) -> Captioned:
        k, sign = rng.integers(self.features, size=n), rng.choice([-1.0, 1.0], n)
        shown = self.detail * rng.choice([-1.0, 1.0], (n, 2, self.features))
        stated = np.where(rng.random(shown.shape) < self.caption_rate, shown, 0.0)
        twin = np.where(rng.random(n) < self.agreement, sign, -sign)
        for view in (shown, stated):
            view[np.arange(n), 0, k], view[np.arange(n), 1, k] = sign, twin
        images, texts = (_noisy(z.reshape(n, -1), self.dimension, self.noise, rng) for z in (shown, stated))
        return Captioned(images, texts, 2 * k + (sign > 0))


def zero_shot_weights(
    images: Float[np.ndarray, "n d"],
    texts: Float[np.ndarray, "n e"],
    prompts: Float[np.ndarray, "K e"],
    ridge: float = 1.0,
) -> Float[np.ndarray, "d K"]:
    """Return the classifier by prompts of linear encoders at the minimum of the linearised contrastive loss.

        L(G) = mean_{i≠j} s_ij − mean_i s_ii + ridge/2 · ‖G‖²,    s_ij = x_iᵀ G t_j,    G = W_imageᵀ W_text

    is least at G = S / ridge, S the covariance Σ_i (x_i − x̄)(t_i − t̄)ᵀ / (n − 1) of pictures and texts; a picture x
    goes with a prompt p as xᵀ G p. G itself is never formed: with one-hot prompts it is what is returned.

    Args:
        images, texts: of the same examples, two at least.
        prompts: what each class is called.
        ridge: above 0; it scales all similarities alike.

    Raises:
        ValueError: for examples that do not pair up, fewer than two, or a ridge that is not above 0.

    >>> x = np.array([[1.0, 0.0], [-1.0, 0.0]])
    >>> zero_shot_weights(x, x, np.array([[-1.0, 0.0], [1.0, 0.0]])).tolist()
    [[-2.0, 2.0], [0.0, 0.0]]

    Source: Xue et al. (2023), arXiv 2310.04971.
    """
    if len(images) != len(texts) or len(images) < 2 or not ridge > 0:
        raise ValueError(
            f"needs as many images as texts, two at least, and a ridge above 0; got {len(images)}, {len(texts)} and "
            f"ridge={ridge}"
        )
    x, t = images - images.mean(0), texts - texts.mean(0)
    return x.T @ (t @ prompts.T) / ((len(x) - 1) * ridge)


def _noisy(
    z: Float[np.ndarray, "n f"], dimension: int, noise: float, rng: np.random.Generator
) -> Float[np.ndarray, "n d"]:
    noisy = rng.standard_normal((len(z), dimension)) * (noise / math.sqrt(dimension))
    noisy[:, : z.shape[1]] += z
    return noisy


def _phi(mean: float, deviation: float) -> float:
    """Compute the probability that a normal number is above 0."""
    if deviation == 0:
        return 0.5 * (1 + math.copysign(1, mean)) if mean else 0.5
    return 0.5 * math.erfc(-mean / deviation / math.sqrt(2))
