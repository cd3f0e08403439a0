"""What words rest on: a plain loop over heads, maps with a gradient, and constant maps."""

from __future__ import annotations

import torch

from counterpoint.networks.fusion.relevance import relevance, unit_range


def test_relevance_equals_plain_loops_and_has_a_gradient_where_asked() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    attention = logits.softmax(-1)
    scores = (weights * attention**2).sum((1, 2, 3))
    measured = relevance(scores, attention, create_graph=True)
    for n, word, patch in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(5)).tolist():
        of_heads = [
            max(0.0, float(a * 2 * w * a))
            for a, w in zip(attention.detach()[n, :, word, patch], weights[n, :, word, patch], strict=True)
        ]
        torch.testing.assert_close(measured[n, word, patch].item(), sum(of_heads) / 3)
    # By hand: mean over heads of relu(2 w a²), which is differentiable in a.
    expected = (2 * weights * attention**2).clamp_min(0).mean(1)
    for one, other in zip(
        torch.autograd.grad(measured.square().sum(), logits, retain_graph=True),
        torch.autograd.grad(expected.square().sum(), logits),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_plain_relevance_has_no_graph() -> None:
    attention = torch.rand(1, 2, 3, 4, requires_grad=True)
    assert not relevance(attention.sum((1, 2, 3)), attention).requires_grad


def test_constant_maps_are_zero_with_finite_gradients() -> None:
    maps = torch.tensor([[2.0, 2.0], [0.0, 0.0], [1.0, 3.0]], requires_grad=True)
    scaled = unit_range(maps)
    assert scaled.tolist() == [[0, 0], [0, 0], [0, 1]]
    scaled.square().sum().backward()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()
