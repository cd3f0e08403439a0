"""Blind pairs: the same as all pairs at once, without holding them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from counterpoint.evaluation import task
from counterpoint.evaluation.mining import blind_pairs, similarity_quantile


def encoders(n: int = 90) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 4, generator=generator), torch.randn(n, 6, generator=generator)


@pytest.mark.parametrize("panel", [1 << 22, 1000, 90, 1])
def test_all_pairs_within_bounds_are_found_whatever_the_panel(
    panel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "PANEL", panel)
    a, b = encoders()
    found = blind_pairs(a, b, above=0.5, below=0.2)
    x, y = (F.normalize(z.double(), dim=1) @ F.normalize(z.double(), dim=1).T for z in (a, b))
    expected = {(i, j) for i in range(90) for j in range(i + 1, 90) if x[i, j] > 0.5 and y[i, j] < 0.2}
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == expected
    np.testing.assert_allclose(found.seen, x[found.first, found.second], atol=1e-6)
    gaps = found.seen - found.other
    assert (np.diff(gaps) <= 0).all()


def test_the_pairs_kept_are_those_of_largest_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "PANEL", 500)
    a, b = encoders()
    everything, few = (blind_pairs(a, b, above=0.3, below=0.5, most=m) for m in (10_000, 7))
    assert len(few) == 7 < len(everything)
    assert few.first.tolist() == everything.first[:7].tolist()


def test_near_duplicates_are_no_blind_pairs() -> None:
    a, b = encoders(4)
    assert len(blind_pairs(torch.cat([a, a]), torch.cat([b, b]), above=0.99)) == 0


def test_a_quantile_of_similarities_is_that_of_all_pairs() -> None:
    z, _ = encoders(200)
    u = F.normalize(z, dim=1)
    pairs = (u @ u.T)[tuple(torch.triu_indices(200, 200, 1))]
    estimate = similarity_quantile(z, 0.98)
    share = float((pairs < estimate).double().mean())
    assert abs(share - 0.98) < 4 * (0.98 * 0.02 / (1 << 20)) ** 0.5 + 1 / len(pairs)
    assert similarity_quantile(z, 0.98) == estimate


def test_bad_input_is_refused() -> None:
    a, b = encoders(5)
    with pytest.raises(ValueError, match="must embed the same pictures, two at least; got 5 and 4"):
        blind_pairs(a, b[:4])
    with pytest.raises(ValueError, match="other holds embeddings that are NaN"):
        blind_pairs(a, b * torch.nan)
    with pytest.raises(ValueError, match="q between 0 and 1"):
        similarity_quantile(a, 2)
