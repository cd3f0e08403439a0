"""Gradients on random unit vectors in float64: what the exact parts of claims about losses compare."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def random_views(
    size: int, width: int, noise: float = 0.5
) -> tuple[Float[Tensor, "B d"], Float[Tensor, "B d"]]:
    """Draw unit vectors and noisy copies of them, always the same."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size, width, generator=generator, dtype=torch.float64)
    y = x + noise * torch.randn(size, width, generator=generator, dtype=torch.float64)
    return F.normalize(x, dim=-1), F.normalize(y, dim=-1)


def gradients(
    loss: Callable[[Tensor, Tensor], Tensor], x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]
) -> Float[Tensor, "2 B d"]:
    """Compute the gradients of a loss in ``x`` and in ``y``."""
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    return torch.stack(torch.autograd.grad(loss(x, y), (x, y)))


def of_similarities(
    loss: Callable[[Tensor, Tensor], Tensor], similarities: Float[Tensor, "B B"]
) -> Float[Tensor, "B B"]:
    """Compute the gradient of a loss of two sets of embeddings in their matrix of similarities.

    The rows of the matrix and those of the identity have just these similarities.
    """
    return gradients(loss, similarities, torch.eye(len(similarities), dtype=similarities.dtype))[0]


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Return ``‖actual − expected‖ / ‖expected‖``."""
    return float((actual - expected).norm() / expected.norm())


def disagreement(
    loss: Callable[[Tensor, Tensor], Tensor], reference: Callable[[Tensor, Tensor], Tensor]
) -> float:
    """Return the largest relative error of a loss and of its gradients against a reference, on random views."""
    x, y = random_views(32, 8)
    return max(
        relative_error(loss(x, y), reference(x, y)),
        relative_error(gradients(loss, x, y), gradients(reference, x, y)),
    )


def queue_gradients(
    loss: Callable[[Tensor, Tensor, Tensor], Tensor], reference: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> tuple[float, float]:
    """Compare a loss of queries, keys and a queue with a reference.

    Returns:
        the relative error of the queries' gradient, and the largest entry of that of keys and queue.
    """
    q, k = random_views(16, 8)
    queue = random_views(48, 8)[1]
    leaves = [part.clone().requires_grad_() for part in (q, k, queue)]
    torch.autograd.backward(loss(*leaves))
    expected = q.clone().requires_grad_()
    torch.autograd.backward(reference(expected, k, queue))
    of_queries, *others = (leaf.grad for leaf in leaves)
    assert of_queries is not None
    assert expected.grad is not None
    reached = [float(gradient.abs().max()) for gradient in others if gradient is not None]
    return relative_error(of_queries, expected.grad), max(reached, default=0.0)
