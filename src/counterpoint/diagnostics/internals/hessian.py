"""The curvature of a loss: the largest eigenvalues of its Hessian, by products with vectors alone.

Source: the Hessian spectra of Park and Kim, "How Do Vision Transformers Work?" (2022), arXiv 2202.06709.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

PAPERS = {"how-vits-work": ("top_eigenvalues",)}

_TINY = 1e-10


def top_eigenvalues(
    loss: Callable[[], Tensor], parameters: Iterable[Tensor], k: int = 5, steps: int = 20, seed: int = 0
) -> Float[Tensor, " k"]:
    """Return the k eigenvalues of the Hessian that are largest in size, largest first; they may be negative.

    Lanczos with full reorthogonalisation from a random start: exact if ``steps`` reaches the number of
    parameters, else the leading ones to good accuracy; raise ``steps`` until they stay. The graph is built
    once and differentiated twice, with attention computed in the open, since fused kernels have no second
    derivative. Weights and their ``.grad`` are left alone.

    Args:
        loss: of one batch; called once. Training losses with their regularisation and augmented data: on
            clean data without the penalty sharpness misleads.
        parameters: with respect to which; those without ``requires_grad`` are left out.
        k: how many, at most ``steps``.
        steps: products with the Hessian.
        seed: of the start.

    Raises:
        ValueError: if ``k`` is not between 1 and ``steps``, nothing requires a gradient, or the loss is not
            finite.

    >>> x = torch.zeros(3, requires_grad=True)
    >>> top_eigenvalues(lambda: (torch.tensor([3.0, -5.0, 1.0]) * x.square()).sum() / 2, [x], k=2).tolist()
    [-5.0, 3.0]
    """
    moving = [p for p in parameters if p.requires_grad]
    if not 1 <= k <= steps or not moving:
        raise ValueError(
            f"top_eigenvalues needs 1 ≤ k ≤ steps and a parameter with a gradient; got k={k}, steps={steps} and "
            f"{len(moving)} parameters"
        )
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        value = loss()
        if not torch.isfinite(value):
            raise ValueError(f"the loss is {float(value.detach())}: it has no curvature")
        gradients = torch.autograd.grad(value, moving, create_graph=True, materialize_grads=True)
        flat = torch.cat([g.flatten() for g in gradients])

        def product(v: Tensor) -> Tensor:
            if not flat.requires_grad:  # a loss that is linear in the parameters
                return torch.zeros_like(v)
            second = torch.autograd.grad(flat, moving, v.to(flat), retain_graph=True, materialize_grads=True)
            return torch.cat([g.flatten() for g in second]).to(v)

        ritz = _lanczos(product, len(flat), steps, seed, flat.device)
    order = ritz.abs().argsort(descending=True)
    return ritz[order][:k].to(value.dtype)


def _lanczos(
    product: Callable[[Tensor], Tensor], n: int, steps: int, seed: int, device: torch.device
) -> Tensor:
    """Return the eigenvalues of the operator in the Krylov space of a random vector."""
    start = torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(device)
    basis = [start / start.norm()]
    diagonal: list[Tensor] = []
    off_diagonal: list[Tensor] = []
    while True:
        v = basis[-1]
        w = product(v)
        diagonal.append(w @ v)
        for _ in range(2):  # once is not enough where eigenvalues have converged
            q = torch.stack(basis)
            w = w - q.T @ (q @ w)
        length = w.norm()
        if len(basis) == min(steps, n) or length <= _TINY * max(1.0, float(diagonal[0].abs())):
            break
        off_diagonal.append(length)
        basis.append(w / length)
    matrix = torch.diag(torch.stack(diagonal))
    if off_diagonal:
        off = torch.stack(off_diagonal[: len(diagonal) - 1])
        matrix = matrix + torch.diag(off, 1) + torch.diag(off, -1)
    return torch.linalg.eigvalsh(matrix)


def penalised(loss: Tensor, parameters: Sequence[Tensor], weight_decay: float) -> Tensor:
    """Return ``loss + λ/2 Σ‖w‖²``: what weight decay λ minimises; it moves every eigenvalue up by λ."""
    return loss + weight_decay / 2 * torch.stack([p.square().sum() for p in parameters]).sum()


@dataclass(frozen=True)
class Spectrum:
    """A summary of the leading eigenvalues of many batches.

    Attributes:
        negative: NEP, the share that is negative: how far from convex.
        sharpness: APE, the mean of the positive ones; NaN where there is none.
        largest: the largest of all.
    """

    negative: float
    sharpness: float
    largest: float


def summary(eigenvalues: Float[Tensor, ...]) -> Spectrum:
    """Return the spectrum in three numbers.

    >>> summary(torch.tensor([4.0, -1.0, 2.0, 0.0]))
    Spectrum(negative=0.25, sharpness=3.0, largest=4.0)
    """
    values = eigenvalues.flatten()
    return Spectrum(
        float((values < 0).double().mean()), float(values[values > 0].mean()), float(values.max())
    )
