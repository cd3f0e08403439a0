"""Several true labels per query: InfoNCE with one, who pushes whom, the soft top k and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import (
    DecoupledSoftmaxLoss,
    MultiLabelSoftmaxLoss,
    OneVsAllLoss,
    SoftTopKLoss,
)
from counterpoint.losses.soft_top_k import log_soft_top_k
from counterpoint.pairwise import evaluate_with
from fixtures.vectors import F64


def unit(n: int, d: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, d, generator=g, dtype=F64), dim=-1).requires_grad_()


def example(n: int = 6, labels: int = 11, d: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    targets = torch.rand(n, labels, generator=torch.Generator().manual_seed(2)) < 0.4
    targets[:, 0] = True
    return unit(n, d, 0), unit(labels, d, 1), targets


# The definitions on a whole matrix of logits


def decoupled(s: Tensor, y: Tensor) -> Tensor:
    negatives = s.masked_fill(y, -torch.inf).logsumexp(1, keepdim=True)
    log_p = (s - torch.logaddexp(s, negatives)) * y
    return -(log_p.sum(1) / y.sum(1)).mean()


def multi_label(s: Tensor, y: Tensor) -> Tensor:
    return -(s.log_softmax(1) * y).sum(1).mean()


def one_vs_all(s: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(s, y.double())


def soft_top_k(s: Tensor, y: Tensor, k: int = 3, alpha: float = 2.0) -> Tensor:
    log_p = OfficialLogTopK.apply(s, k, alpha)  # type: ignore[no-untyped-call]
    return -((log_p * y).sum(1) / y.sum(1)).mean()


class OfficialLogTopK(torch.autograd.Function):
    """Bisection, and the vector-Jacobian product as the paper writes it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int, alpha: float) -> Tensor:
        low, high = -x.amax(1) - 10 / alpha, -x.amin(1) + 10 / alpha
        for _ in range(64):
            middle = (low + high) / 2
            below = torch.sigmoid(alpha * (x + middle[:, None])).sum(1) < k
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        u = alpha * (x + ((low + high) / 2)[:, None])
        ctx.save_for_backward(u)
        ctx.alpha = alpha
        return F.logsigmoid(u)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (u,), alpha = ctx.saved_tensors, ctx.alpha
        sigmoid = u.sigmoid()
        v = alpha * sigmoid * (1 - sigmoid)
        uv = grads[0] * alpha * (1 - sigmoid)
        return uv - uv.sum(1, keepdim=True) * v / v.sum(1, keepdim=True), None, None


LOSSES: dict[str, tuple[Any, Callable[[Tensor, Tensor], Tensor]]] = {
    "decoupled_softmax": (DecoupledSoftmaxLoss(0.2), decoupled),
    "multi_label_softmax": (MultiLabelSoftmaxLoss(0.2), multi_label),
    "one_vs_all": (OneVsAllLoss(0.2), one_vs_all),
    "soft_top_k": (SoftTopKLoss(0.2, k=3), soft_top_k),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
def test_queries_and_label_vectors_have_gradient_of_whole_matrix(name: str, evaluator: Any) -> None:
    objective, plain = LOSSES[name]
    q, z, y = example()
    expected = plain(q @ z.T / 0.2, y)
    with evaluate_with(evaluator, tile=4):
        ours = objective(q, z, targets=y)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(ours, [q, z]), torch.autograd.grad(expected, [q, z]), rtol=1e-9, atol=1e-12
    )


def logit_gradients(objective: Any, targets: Tensor, logits: Tensor) -> Tensor:
    """Return the gradients of one query's logits: the query is a unit axis, a label's logit its first coordinate."""
    z = torch.stack([logits, torch.zeros_like(logits)], 1).requires_grad_()
    query = torch.tensor([[1.0, 0.0]], dtype=F64)
    (grad,) = torch.autograd.grad(objective(query, z, targets=targets[None]), z)
    return grad[:, 0]


def test_softmax_pushes_strongest_true_label_down_decoupled() -> None:
    logits = torch.tensor([4.0, 1.0, 0.0, -1.0, -2.0], dtype=F64)
    targets = torch.tensor([True, True, True, False, False])
    softmax = logit_gradients(MultiLabelSoftmaxLoss(1.0), targets, logits)
    torch.testing.assert_close(softmax, 3 * logits.softmax(0) - targets.double(), rtol=1e-10, atol=1e-12)
    assert softmax[0] > 0  # p = 0.93 exceeds 1/3
    free = logit_gradients(DecoupledSoftmaxLoss(1.0), targets, logits)
    assert free[targets].lt(0).all()
    assert free[~targets].gt(0).all()


def test_the_mean_over_true_labels_is_the_sum_over_their_number() -> None:
    q, z, y = example(n=1)
    total, mean = (MultiLabelSoftmaxLoss(reduction=r)(q, z, targets=y) for r in ("sum", "mean"))  # type: ignore[arg-type] # both are known
    torch.testing.assert_close(total, mean * y.sum())
    assert y.sum() > 1


def test_true_label_competes_with_false_ones_no_other_true_one() -> None:
    q, z, y = example(n=1)
    alone = []
    for label in y[0].nonzero()[:, 0]:
        only = torch.zeros_like(y)
        only[0, label] = True
        alone.append(DecoupledSoftmaxLoss()(q, z, targets=only, ignored=y & ~only))
    torch.testing.assert_close(DecoupledSoftmaxLoss()(q, z, targets=y), torch.stack(alone).mean())


def test_ignored_labels_might_as_well_not_be_there() -> None:
    q, z, y = example()
    gone = torch.zeros_like(y)
    gone[:, 7:] = True
    for objective in (
        DecoupledSoftmaxLoss(0.2),
        MultiLabelSoftmaxLoss(0.2),
        SoftTopKLoss(0.2, k=3),
        SoftTopKLoss(0.2, k=None),
    ):
        kept = objective(q, z, targets=y, ignored=gone)
        torch.testing.assert_close(kept, objective(q, z[:7], targets=y[:, :7]), rtol=1e-10, atol=0)


@pytest.mark.parametrize("objective", [DecoupledSoftmaxLoss(), SoftTopKLoss(k=None), MultiLabelSoftmaxLoss()])
def test_a_query_without_true_labels_adds_nothing_but_counts(objective: Any) -> None:
    q, z, y = example(n=2)
    y[1] = False
    with_both, alone = objective(q, z, targets=y), objective(q[:1], z, targets=y[:1])
    torch.testing.assert_close(with_both, alone / 2)
    assert torch.autograd.grad(with_both, q)[0][1].eq(0).all()


@pytest.mark.parametrize("objective", [DecoupledSoftmaxLoss(), SoftTopKLoss(k=2), MultiLabelSoftmaxLoss()])
def test_nan_is_passed_on(objective: Any) -> None:
    q, z, y = example(n=3)
    bad = q.detach().clone()
    bad[1, 0] = torch.nan
    assert objective(bad, z, targets=y).isnan()


@pytest.mark.parametrize("objective", [DecoupledSoftmaxLoss(), SoftTopKLoss(k=None)])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_query_all_of_whose_labels_are_true_costs_nothing(objective: Any, ignored: bool) -> None:
    q, z, y = example(n=2)
    y[:], gone = True, torch.full_like(y, False)
    gone[1] = ignored
    loss = objective(q, z, targets=y, ignored=gone)
    assert loss.item() == 0
    for grad in torch.autograd.grad(loss, [q, z]):
        assert grad.eq(0).all()


@pytest.mark.parametrize("objective", [DecoupledSoftmaxLoss(), MultiLabelSoftmaxLoss()])
def test_the_mean_over_queries_is_weighted(objective: Any) -> None:
    q, z, y = example(n=3)
    alone = torch.stack([objective(q[i : i + 1], z, targets=y[i : i + 1]) for i in range(3)])
    weights = torch.tensor([0.5, 0.0, 2.0], dtype=F64)
    torch.testing.assert_close(objective(q, z, targets=y, weights=weights), (weights @ alone) / 2.5)
    nobody = objective(q, z, targets=y, weights=torch.zeros(3, dtype=F64))
    assert nobody.item() == 0
    assert all(grad.eq(0).all() for grad in torch.autograd.grad(nobody, [q, z]))


def test_query_all_of_whose_labels_ignored_costs_softmax_nothing() -> None:
    q, z, y = example(n=2)
    gone = torch.zeros_like(y)
    gone[1] = True
    loss = MultiLabelSoftmaxLoss()(q, z, targets=y, ignored=gone)
    torch.testing.assert_close(loss, MultiLabelSoftmaxLoss()(q[:1], z, targets=y[:1]) / 2)
    assert torch.autograd.grad(loss, q)[0][1].eq(0).all()


# The soft top k


def test_the_memberships_of_the_soft_top_k_sum_to_k() -> None:
    x = torch.randn(4, 30, generator=torch.Generator().manual_seed(0), dtype=F64) * 5
    k = torch.tensor([1.0, 2.5, 15.0, 29.0], dtype=F64)
    torch.testing.assert_close(log_soft_top_k(x, k).exp().sum(1), k, rtol=1e-10, atol=0)


def test_the_threshold_is_found_among_very_many_equal_labels() -> None:
    # The margin of the bracket has to grow with their logarithm: 200,000 sigmoids at −10 sum to 9 already.
    memberships = log_soft_top_k(torch.zeros(1, 200_000), torch.tensor([1.0])).exp()
    assert memberships.double().sum().item() == pytest.approx(1, rel=1e-3)


def test_a_steep_soft_top_k_is_the_top_k() -> None:
    x = torch.tensor([[0.3, 2.0, 1.1, -0.7, 0.9]], dtype=F64)
    members = log_soft_top_k(x, torch.tensor([2.0], dtype=F64), alpha=500.0).exp().round(decimals=6)
    assert members.tolist() == [[0, 1, 1, 0, 0]]


def test_the_soft_top_k_sees_differences_alone() -> None:
    x = torch.randn(2, 9, generator=torch.Generator().manual_seed(0), dtype=F64)
    k = torch.tensor([2.0, 3.0], dtype=F64)
    torch.testing.assert_close(log_soft_top_k(x + 40, k), log_soft_top_k(x, k), rtol=1e-10, atol=1e-10)


def test_gradient_of_soft_top_k_is_that_of_the_implicit_function() -> None:
    x = torch.randn(3, 9, generator=torch.Generator().manual_seed(0), dtype=F64).requires_grad_()
    k = torch.full((3,), 4.0, dtype=F64)
    upstream = torch.randn(3, 9, generator=torch.Generator().manual_seed(1), dtype=F64)
    ours = torch.autograd.grad(log_soft_top_k(x, k, 1.5), x, upstream)
    official = torch.autograd.grad(OfficialLogTopK.apply(x, 4, 1.5), x, upstream)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(ours, official, rtol=1e-9, atol=1e-12)
    assert torch.autograd.gradcheck(lambda t: log_soft_top_k(t, k, 1.5), x)


def test_labels_that_are_very_far_apart_make_no_nan() -> None:
    x = torch.tensor([[1000.0, -1000.0, -1000.0]]).requires_grad_()
    log_p = log_soft_top_k(x, torch.tensor([1.0]))
    assert log_p[0, 0].item() == 0
    assert torch.autograd.grad(log_p[0, 0], x)[0].isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, z, y: (q, z[:, :3], y), "queries have 4 dimensions but labels_z 3"),
        (lambda q, z, y: (q, z[:9], y), r"targets must be boolean \(6, 9\), got torch.bool \(6, 11\)"),
        (lambda q, z, y: (q, z, y.long()), r"targets must be boolean \(6, 11\), got torch.int64"),
        (lambda q, z, y: (q[:5], z, y), "row i of one must belong to row i of the other"),
        (lambda q, z, y: (q, z[:0], y), r"labels_z must be \(B, d\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change: Callable[..., Any], message: str) -> None:
    q, z, y = change(*example())
    with pytest.raises(ValueError, match=message):
        unwrap(DecoupledSoftmaxLoss.forward)(DecoupledSoftmaxLoss(), q, z, targets=y)


def test_k_must_leave_a_label_out() -> None:
    q, z, y = example()
    with pytest.raises(ValueError, match="k=11 must be below the number of labels, 11"):
        SoftTopKLoss(k=11)(q, z, targets=y)
