"""Inputs that losses accept, and how losses refuse others."""

from __future__ import annotations

from inspect import unwrap

import pytest
import torch

from counterpoint import losses
from counterpoint.pairwise import check_values, paired, validating
from counterpoint.pairwise.inputs import softplus


def test_half_precision_is_raised_and_the_rest_left_alone() -> None:
    for dtype, expected in (
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        (x,) = paired(x=torch.ones(2, 3, dtype=dtype))
        assert x.dtype == expected


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.ones(3), r"text must be \(B, d\)"),
        (torch.ones(3, 0), "with B, d >= 1"),
        (torch.ones(4, 2, dtype=torch.long), "text must be a floating-point tensor, got torch.int64"),
        (torch.ones(3, 2), r"image is \(4, 2\) but text is \(3, 2\)"),
        (torch.ones(4, 3), r"image is \(4, 2\) but text is \(4, 3\)"),
        (torch.ones(4, 2, dtype=torch.float64), "image is torch.float32 but text is torch.float64: convert"),
        (torch.ones(4, 2, device="meta"), "image is on cpu but text is on meta"),
    ],
)
def test_shapes_are_always_checked(bad: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired(image=torch.ones(4, 2), text=bad)


@pytest.mark.parametrize("bad", [[[1.0, 0.0]], None])
def test_what_is_no_tensor_is_refused_by_its_type(bad: object) -> None:
    with pytest.raises(ValueError, match=rf"text must be a tensor \(B, d\), got {type(bad).__name__}"):
        unwrap(paired)(image=torch.ones(1, 2), text=bad)


def test_softplus_is_exact_where_pytorchs_is_the_identity() -> None:
    x = torch.linspace(-60, 60, 241, dtype=torch.float64, requires_grad=True)
    ours, exact = softplus(x), -torch.nn.functional.logsigmoid(-x)
    torch.testing.assert_close(ours, exact, rtol=1e-15, atol=0)
    of_ours, of_exact = (torch.autograd.grad(y.sum(), x)[0] for y in (ours, exact))
    torch.testing.assert_close(of_ours, of_exact, rtol=1e-15, atol=0)


def test_values_are_checked_on_request() -> None:
    good, bad = torch.eye(3), torch.eye(3)
    bad[1] = float("nan")
    loss = losses.create("infonce")
    assert loss(good, bad).isnan()
    with (
        validating(),
        pytest.raises(ValueError, match=r"y has 1 non-finite row, first at \[1\]"),
    ):
        loss(good, bad)
    with pytest.raises(ValueError, match=r"image has 2 all-zero rows, first at \[0, 2\]"):
        check_values(image=torch.tensor([[0.0], [1.0], [0.0]]))


def test_a_zero_vector_has_a_finite_loss_and_gradient() -> None:
    x = torch.eye(4)
    x[2] = 0
    x.requires_grad_()
    loss = losses.create("infonce")(x, torch.eye(4))
    loss.backward()
    assert loss.isfinite()
    assert x.grad is not None
    assert x.grad.isfinite().all()
