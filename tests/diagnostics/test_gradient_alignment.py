"""The cosine of mean gradients, by hand, and what it leaves as it was."""

from __future__ import annotations

import pytest
import torch

from counterpoint.diagnostics.gradient_alignment import gradient_alignment
from counterpoint.types import StepInfo
from fixtures.speaking import batch_of, speaking

CLOCK = StepInfo(0, 10)


def test_is_the_cosine_of_mean_gradients() -> None:
    method = speaking("sft", "talk")
    one, two, three = (batch_of(method).map(lambda t, n=n: t[n : n + 1]) for n in (0, 1, 3))

    def gradient(batch: object) -> torch.Tensor:
        method.zero_grad()
        method.losses(method.encode(batch), batch, CLOCK)["nll"].backward()
        return torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])

    g = [gradient(batch) for batch in (one, two, three)]
    expected = torch.cosine_similarity(g[0] + g[1], g[2], dim=0)
    method.zero_grad()
    method.train()
    assert gradient_alignment(method, [one, two], [three], CLOCK) == pytest.approx(float(expected), abs=1e-4)
    assert method.training
    assert all(parameter.grad is None for parameter in method.parameters())
    assert gradient_alignment(method, [one], [one], CLOCK) == pytest.approx(1, abs=1e-5)


def test_nothing_to_compare_is_refused() -> None:
    method = speaking("sft", "talk")
    with pytest.raises(ValueError, match="one of them is empty"):
        gradient_alignment(method, [batch_of(method)], [], CLOCK)
    method.requires_grad_(False)
    with pytest.raises(ValueError, match="has no gradient"):
        gradient_alignment(method, [batch_of(method)], [batch_of(method)], CLOCK)
