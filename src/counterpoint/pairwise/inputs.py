"""Checks of what losses accept: of shape always, of values on request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..reasons import counted
from . import recording
from .ranks import Ranks

_VALIDATING: ContextVar[bool] = ContextVar("validating", default=False)


def paired(**named: Tensor) -> tuple[Tensor, ...]:
    """Check matching embeddings, and raise half precision to float32.

    Args:
        named: tensors ``(B, d)`` under the names that an error shall use.

    Raises:
        ValueError: if one is not a floating tensor ``(B, d)`` with B, d ≥ 1, or their shapes, types or devices differ;
            inside `validating` also for NaN, infinities and zero rows.

    >>> paired(image=torch.ones(3, 2), text=torch.ones(2, 2))
    Traceback (most recent call last):
    ...
    ValueError: image is (3, 2) but text is (2, 2): row i of one must belong to row i of the other
    """
    first, *_ = named
    for name, tensor in named.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{name} must be a tensor (B, d), got {type(tensor).__name__}")
        if tensor.ndim != 2 or not tensor.shape[1] or lacks_rows(tensor):
            raise ValueError(f"{name} must be (B, d) with B, d >= 1, got {tuple(tensor.shape)}")
        if not tensor.is_floating_point():
            raise ValueError(f"{name} must be a floating-point tensor, got {tensor.dtype}")
        if tensor.shape != named[first].shape:
            raise ValueError(
                f"{first} is {tuple(named[first].shape)} but {name} is {tuple(tensor.shape)}: "
                "row i of one must belong to row i of the other"
            )
        if tensor.device != named[first].device:
            raise ValueError(f"{first} is on {named[first].device} but {name} is on {tensor.device}")
        if upcast(tensor).dtype != upcast(named[first]).dtype:
            raise ValueError(
                f"{first} is {named[first].dtype} but {name} is {tensor.dtype}: convert one to the other's type"
            )
    # On request only: to look at values the processor must wait for the device.
    if _VALIDATING.get():
        check_values(**named)
    return tuple(upcast(tensor) for tensor in named.values())


def lacks_rows(tensor: Tensor) -> bool:
    """Return whether there is no row at all; one of several ranks may have none, where examples lack something."""
    return not len(tensor) and Ranks.present().size == 1


def paired_views(views: Sequence[Tensor], least: int = 2) -> tuple[Tensor, ...]:
    """Check several views of the same examples as `paired` does, under the names "view 1", "view 2", ….

    Raises:
        ValueError: for fewer than ``least`` views, and as `paired`.

    >>> paired_views([torch.ones(3, 2)])
    Traceback (most recent call last):
    ...
    ValueError: an example needs at least 2 views, got 1
    """
    if len(views) < least:
        raise ValueError(f"an example needs at least {counted(least, 'view')}, got {len(views)}")
    return paired(**{f"view {v}": view for v, view in enumerate(views, 1)})


def upcast(tensor: Tensor) -> Tensor:
    """Return float16 and bfloat16 as float32; anything else as it is.

    A sum of exponentials over a batch leaves the range of float16, which ends at 65,504, and needs more than the eight
    bits of bfloat16.
    """
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def check_values(**named: Tensor) -> None:
    """Refuse embeddings with NaN, infinite or all-zero rows (a zero vector has no direction).

    Waits for the device.

    Raises:
        ValueError: naming the tensor and its first bad rows.

    >>> check_values(text=torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    Traceback (most recent call last):
    ...
    ValueError: text has 1 all-zero row, first at [1]: a zero vector has no direction
    """
    for name, tensor in named.items():
        values = tensor.detach()
        for bad, what, why in (
            (~values.isfinite().all(-1), "non-finite row", ""),
            ((values == 0).all(-1), "all-zero row", ": a zero vector has no direction"),
        ):
            rows = bad.nonzero()[:, 0].tolist()
            if rows:
                raise ValueError(f"{name} has {counted(len(rows), what)}, first at {rows[:5]}{why}")


@contextmanager
def validating() -> Iterator[None]:
    """Let losses called inside check the values of their inputs too (slow: for finding a fault)."""
    token = _VALIDATING.set(True)
    try:
        yield
    finally:
        _VALIDATING.reset(token)


def softplus(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return ``log(1 + exp x)`` to the last digit of float64, where PyTorch's is x itself from 20 on, off by 2e-9.

    >>> softplus(torch.tensor([21.0], dtype=torch.float64)).item() - 21.0 > 0
    True
    """
    # From there on exp(−x) is below the last digit of x in float64.
    return F.softplus(x, threshold=40.0)


def dot(x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, " B"]:
    """Return ``<x_i, y_i>``, the score of each matched pair."""
    return recording.diagonal((x * y).sum(-1), x, y)


def squared_distance(x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, " B"]:
    """Return ``‖x_i − y_i‖²`` of each matched pair."""
    return recording.diagonal((x - y).square().sum(-1), x, y, -1)
