"""The residual blocks of any transformer, whoever wrote it: to drop out their inputs, to freeze some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import nn


def residual_blocks(module: nn.Module) -> Sequence[nn.Module]:
    """Return the longest list of modules of one class inside ``module``, the outermost of equals; empty if none."""
    lists = [m for m in module.modules() if isinstance(m, nn.ModuleList | nn.Sequential)]
    alike = [tuple(m) for m in lists if len({type(child) for child in m}) == 1]
    return max(alike, key=len, default=())


@contextmanager
def dropped_inputs(blocks: Sequence[nn.Module], p: float) -> Iterator[None]:
    """Give each block its input after dropout with probability ``p``, inside a ``with`` block."""
    handles = [b.register_forward_pre_hook(partial(_drop, p), with_kwargs=True) for b in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def dropout_layers(module: nn.Module) -> list[nn.Dropout]:
    """Return the dropout layers that a module has of its own; none of most towers of this package."""
    return [layer for layer in module.modules() if isinstance(layer, nn.Dropout)]


@contextmanager
def dropping(layers: Sequence[nn.Dropout], rates: Sequence[float]) -> Iterator[None]:
    """Let dropout layers have other probabilities inside a ``with`` block, and their own again after it, come what may.

    >>> layer = nn.Dropout(0.1)
    >>> with dropping([layer], [0.3]):
    ...     print(layer.p)
    0.3
    >>> layer.p
    0.1
    """
    probabilities = [layer.p for layer in layers]
    try:
        for layer, rate in zip(layers, rates, strict=True):
            layer.p = rate
        yield
    finally:
        for layer, rate in zip(layers, probabilities, strict=True):
            layer.p = rate


def _drop(
    p: float, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if args:
        return (F.dropout(args[0], p), *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": F.dropout(kwargs["hidden_states"], p)}
