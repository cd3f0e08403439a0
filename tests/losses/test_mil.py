"""Bags against bags: InfoNCE of single instances, the limits of each pooling, padding, order."""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import InfoNCELoss, MILLoss
from counterpoint.networks import NonLocal
from fixtures.vectors import F64

POOLINGS: list[Any] = ["mean", "max", "lse", "attention", "noisy_or"]


def unit(*shape: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=g, dtype=F64), dim=-1).requires_grad_()


def bags(b: int = 5, n: int = 4, m: int = 3, d: int = 6) -> tuple[Tensor, Tensor]:
    return unit(b, n, d, seed=0), unit(b, m, d, seed=1)


def test_the_mean_is_the_similarity_with_the_mean_region() -> None:
    x, y = bags()
    torch.testing.assert_close(
        MILLoss("mean", temperature=0.1)(x, y), InfoNCELoss(0.1)(x.mean(1), y.mean(1)), rtol=1e-12, atol=0
    )


def test_lse_lies_between_the_mean_and_the_maximum() -> None:
    h = torch.tensor([[[0.1], [0.5], [-0.3]]], dtype=F64)
    there, one = torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool)

    def score(pooling: Any, gamma: float = 5.0) -> float:
        return MILLoss(pooling, gamma=gamma).score(h, there, one).item()

    assert score("mean") == pytest.approx(0.1)
    assert score("max") == pytest.approx(0.5)
    assert score("lse", 1e-7) == pytest.approx(0.1, abs=1e-6)
    assert score("lse", 1e5) == pytest.approx(0.5, abs=1e-4)
    values = [score("lse", gamma) for gamma in (0.1, 1.0, 5.0, 20.0, 100.0)]
    assert values == sorted(values)
    assert 0.1 < values[0] < values[-1] < 0.5
    assert score("attention", 1e-7) == pytest.approx(0.1, abs=1e-6)
    assert score("attention", 1e5) == pytest.approx(0.5)
    assert score("noisy_or") == pytest.approx(1 - 0.9 * 0.5)


def test_attention_is_the_similarity_with_the_region_attended_to() -> None:
    x, y = bags(b=1, m=1)
    h = x[0] @ y[0, 0]
    attended = (5 * h).softmax(0) @ x[0]
    score = MILLoss("attention").score(
        h[None, :, None], *(torch.ones(1, k, dtype=torch.bool) for k in (4, 1))
    )
    torch.testing.assert_close(score, (attended @ y[0, 0])[None])


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_nothing(pooling: Any) -> None:
    x, y = bags()
    objective = MILLoss(pooling, temperature=0.1)
    plain = objective(x, y)
    longer = [torch.cat([t, 9 * torch.ones(5, 2, 6, dtype=F64)], 1) for t in (x, y)]
    masks = [torch.arange(t.shape[1]).expand(5, -1) < t.shape[1] - 2 for t in longer]
    padded = objective(*longer, x_mask=masks[0], y_mask=masks[1])
    torch.testing.assert_close(padded, plain, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(padded, [x, y]), torch.autograd.grad(plain, [x, y]), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("pooling", POOLINGS[:4])
def test_scores_do_not_grow_with_the_number_of_regions(pooling: Any) -> None:
    x, y = bags()
    objective = MILLoss(pooling, temperature=0.1)
    torch.testing.assert_close(objective(torch.cat([x, x], 1), y), objective(x, y), rtol=1e-12, atol=0)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_order_of_regions_and_sentences_does_not_matter(pooling: Any) -> None:
    x, y = bags()
    objective = MILLoss(pooling, temperature=0.1)
    shuffled = objective(x[:, [2, 0, 3, 1]], y[:, [1, 2, 0]])
    torch.testing.assert_close(shuffled, objective(x, y), rtol=1e-12, atol=0)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_sentences_of_the_same_document_are_no_negatives(pooling: Any) -> None:
    x, y = bags(b=1)
    loss = MILLoss(pooling)(x, y)
    assert abs(loss.item()) < 1e-12
    for grad in torch.autograd.grad(loss, [x, y]):
        assert grad.abs().max() < 1e-12


def test_gamma_shares_gradient_among_regions_maximum_gives_one() -> None:
    h = torch.tensor([[[0.1], [0.5], [-0.3]]], dtype=F64).requires_grad_()
    there, one = torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool)
    (lse,), (highest,) = (
        torch.autograd.grad(MILLoss(pooling, gamma=4.0).score(h, there, one).sum(), h)
        for pooling in ("lse", "max")  # type: ignore[arg-type] # both are known
    )
    torch.testing.assert_close(lse, (4 * h).softmax(1).detach())
    assert highest.flatten().tolist() == [0, 1, 0]


def test_a_local_and_a_global_score_are_two_losses() -> None:
    x, y = bags()
    block = NonLocal(6).double()
    g = F.normalize(block(x).mean(1, keepdim=True), dim=-1)
    local, whole = MILLoss("lse", temperature=0.1)(x, y), MILLoss("lse", temperature=0.1)(g, y)
    torch.testing.assert_close(whole, InfoNCELoss(0.1)(g[:, 0], y.mean(1)), rtol=1e-12, atol=0)
    (local + whole).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(5, 6)}, r"x must be floating \(B, n, d\)"),
        ({"x": torch.ones(5, 4, 6).long()}, r"x must be floating .* got torch.int64"),
        ({"y": torch.ones(4, 3, 6)}, "row i of one must belong to row i of the other"),
        ({"y": torch.ones(5, 3, 7)}, "in the same dimensions"),
        ({"x_mask": torch.ones(5, 3).bool()}, r"x_mask must be boolean \(5, 4\), got torch.bool \(5, 3\)"),
        ({"y_mask": torch.ones(5, 3)}, r"y_mask must be boolean \(5, 3\), got torch.float32"),
        ({"y_mask": torch.arange(15).view(5, 3) > 4}, r"y_mask leaves nothing of the examples at \[0\]"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change: dict[str, Tensor], message: str) -> None:
    x, y = bags()
    given = {"x": x, "y": y} | change
    with pytest.raises(ValueError, match=message):
        unwrap(MILLoss.forward)(MILLoss(), **given)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_it_is_explained_which_pairs_are_pulled_and_pushed(pooling: Any) -> None:
    (force,) = MILLoss(pooling, temperature=0.1).explain(*bags()).forces
    assert (force.pull.diagonal() > 0).all()
    assert (force.pull[~torch.eye(5, dtype=torch.bool)] < 0).all()
