"""PHI-S: features of one variance in every channel, by a rotation and one scale."""

from __future__ import annotations

from functools import cache
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .weights import is_restored

PAPERS = {"radio-amplified": ("PHIS", "hadamard")}


class PHIS(nn.Module):
    """PCA, a Hadamard rotation and one scale: ``T(y) = H Uᵀ (y − μ) / a``.

        Σ = U diag(λ) Uᵀ,   a = √(mean λ),   H orthogonal

    μ and Σ are the mean and the covariance of the features that it is fitted on. With all entries of H of one size
    every channel of T(y) has variance 1. T keeps all ratios of distances, unlike whitening, which divides each
    principal direction by its own deviation. It has to be fitted before it is used.

    Args:
        width: of the features; None where a trained model is read again, whose weights say it.

    Attributes:
        rotation: H Uᵀ.
        scale: a.

    Source: Ranzinger et al., "PHI-S: Distribution Balancing for Label-Free Multi-Teacher Distillation" (2024), arXiv
    2410.01680, as in Heinrich et al. (2024), arXiv 2412.07679.
    """

    mean: Tensor
    rotation: Tensor
    scale: Tensor

    def __init__(self, width: int | None) -> None:
        super().__init__()
        self._any_shape = is_restored()
        self.register_buffer("mean", torch.zeros(width or 1))
        self.register_buffer("rotation", torch.zeros(width or 1, width or 1))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, mean: Float[Tensor, " d"], covariance: Float[Tensor, "d d"]) -> Self:
        """Take the transform from a mean and a covariance, in float64.

        Raises:
            ValueError: for features without variance.
        """
        values, vectors = torch.linalg.eigh(covariance.double())
        values = values.clamp_min(0)  # rounding can bring them below
        if not values.mean() > 0:
            raise ValueError("the features are the same everywhere, so that no scale makes their variance 1")
        # The sign of an eigenvector is free: its largest entry is made positive, so that all machines agree.
        vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
        self.mean.copy_(mean)
        self.rotation.copy_(rotation(len(values)) @ vectors.T)
        self.scale.copy_(values.mean().sqrt())
        return self

    def forward(self, y: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return (y - self.mean) @ self.rotation.T / self.scale

    def inverse(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Return the features whose transform is ``z``."""
        return z @ self.rotation * self.scale + self.mean

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        mean = state_dict.get(f"{prefix}mean")
        if self._any_shape and mean is not None:
            self.mean, self.rotation = torch.empty_like(mean), self.rotation.new_empty(2 * mean.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def rotation(width: int) -> Float[Tensor, "width width"]:
    """Return an orthogonal matrix whose entries are all of one size, where `hadamard` has one.

    For other widths it is the factor Q of a matrix of random signs, from a fixed seed: orthogonal, with entries of
    unequal size.
    """
    signs = hadamard(width)
    if signs is not None:
        return signs / width**0.5
    generator = torch.Generator().manual_seed(width)
    drawn = torch.randint(0, 2, (width, width), generator=generator).double() * 2 - 1
    return torch.linalg.qr(drawn).Q


@cache
def hadamard(order: int) -> Float[Tensor, "order order"] | None:
    """Return a matrix of ±1 with orthogonal rows; None for an order without a known construction here.

    Constructions are those of Paley, for primes, and Kronecker products, of which Sylvester's is one.

    >>> hadamard(2)
    tensor([[ 1.,  1.],
            [ 1., -1.]], dtype=torch.float64)
    >>> [order for order in range(1, 40) if hadamard(order) is not None]
    [1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 36]
    """
    one = torch.ones(1, 1, dtype=torch.float64)
    if order == 1:
        return one
    two = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    if order == 2:
        return two
    if order % 4:
        return None
    if _is_prime(order - 1):  # 3 modulo 4
        skew = _bordered(order - 1, -1)
        return skew + torch.eye(order, dtype=torch.float64)
    if order // 2 % 2 == 0 and _is_prime(half := order // 2 - 1) and half % 4 == 1:
        symmetric = _bordered(half, 1)
        return torch.kron(symmetric, two) + torch.kron(
            torch.eye(order // 2, dtype=torch.float64),
            torch.tensor([[1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64),
        )
    for factor in range(2, int(order**0.5) + 1):
        if order % factor == 0:
            small, large = hadamard(factor), hadamard(order // factor)
            if small is not None and large is not None:
                return torch.kron(small, large)
    return None


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % factor for factor in range(2, int(number**0.5) + 1))


def _bordered(prime: int, sign: int) -> Float[Tensor, "n n"]:
    """Return the matrix of quadratic residues of differences, bordered by ones, and by ``sign`` on the left."""
    character = -torch.ones(prime, dtype=torch.float64)
    character[torch.arange(1, prime).square() % prime] = 1
    character[0] = 0
    number = torch.arange(prime)
    matrix = torch.zeros(prime + 1, prime + 1, dtype=torch.float64)
    matrix[1:, 1:] = character[(number[:, None] - number) % prime]
    matrix[0, 1:], matrix[1:, 0] = 1, sign
    return matrix
