"""BarLIP against the card."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from method_stubs import batch, build, features, run, through, total
from torch import Tensor, nn

F64 = torch.float64


def by_hand(u: Tensor, v: Tensor) -> float:
    """0.025 · [ Σ_k (C_kk − 1)² + 0.005 · Σ_{k≠l} C_kl² ]."""
    n, d = u.shape
    total = 0.0
    for k, m in product(range(d), repeat=2):
        c = sum(float(u[i, k] * v[i, m]) for i in range(n)) / n
        total += (c - 1) ** 2 if k == m else 0.005 * c**2
    return 0.025 * total


def bare(name: str, width: int = 8, **options: Any) -> nn.Module:
    """The method with its projectors reduced to the last batch norm."""
    method = through(name, width, **options)
    for stream in method.term.projector.values():
        for modality in stream:
            stream[modality] = nn.BatchNorm1d(width, dtype=F64)
    return method  # type: ignore[no-any-return]


def standardise(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()


@pytest.mark.parametrize("a_views", [0, 1, 2])
def test_term_is_the_mean_over_the_pairs(a_views: int) -> None:
    method = bare("barlip", views=a_views)
    g = torch.Generator().manual_seed(0)
    views = {name: torch.randn(10, 8, generator=g, dtype=F64) for name in method.views}  # type: ignore[union-attr]
    named = [("image", "text")]
    named += [(f"image.{a}", f"text.{b}") for a, b in product(range(1, a_views + 1), repeat=2)]
    expected = sum(by_hand(standardise(views[a]), standardise(views[b])) for a, b in named) / len(named)
    assert len(named) == 1 + a_views**2
    assert run(method, features(**views))["barlip"].item() == pytest.approx(expected)  # type: ignore[arg-type]


def test_equal_decorrelated_features_give_0() -> None:
    signs = torch.tensor([[(-1.0) ** (i >> k & 1) for k in range(4)] for i in range(16)], dtype=F64)
    loss = run(bare("barlip", 4), features(image=signs, text=signs))["barlip"]  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(0, abs=1e-9)


def test_independent_features_give_the_cards_expectation() -> None:
    d, n = 32, 512
    g = torch.Generator().manual_seed(0)
    views = {name: torch.randn(n, d, generator=g, dtype=F64) for name in ("image", "text")}
    loss = run(bare("barlip", d), features(**views))["barlip"]  # type: ignore[arg-type]
    # Each (C_kk − 1)² has mean 1 + 1/n and a deviation of about 2/√n, so their sum of 32 one of 0.5. Take 4.
    assert loss.item() == pytest.approx(0.025 * (d + 0.005 * d**2 / n), rel=4 * 0.5 / 32)


def test_projector_is_the_cards() -> None:
    for projector in build("barlip").term.projector["global"].values():
        kinds = [type(layer).__name__ for layer in projector]
        assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
        assert projector[-1].affine
        assert all(layer.bias is not None for layer in projector if isinstance(layer, nn.Linear))
        assert projector[-1].num_features == 8
        assert projector[0].out_features == 16


def test_streams_share_their_projector_unless_told() -> None:
    shared, own = build("barlip-rocket"), build("barlip-rocket", separate_proj_child=True)
    for method, passes in ((shared, 3), (own, 1)):
        run(method, batch(method))
        assert int(method.term.projector["global"]["image"][-1].num_batches_tracked) == passes
    assert set(shared.term.projector) == {"global"}
    assert set(own.term.projector) == {"global", "local"}


@pytest.mark.parametrize("recipe", ["", "-rocket"])
def test_weight_0_leaves_the_contrastive_loss(recipe: str) -> None:
    method, parent = build(f"barlip{recipe}", ssl_weight=0.0), build(f"clip{recipe}")
    given = batch(method)
    torch.testing.assert_close(total(method, given), total(parent, given), rtol=0, atol=0)


def test_the_sum_of_directions_halves_the_terms_share() -> None:
    added, mean = build("barlip-rocket"), build("barlip-rocket", reduction="mean")
    given = batch(added)
    of_sum, of_mean = run(added, given), run(mean, given)
    torch.testing.assert_close(of_sum["clip"], 2 * of_mean["clip"])
    torch.testing.assert_close(of_sum["barlip"], of_mean["barlip"])
