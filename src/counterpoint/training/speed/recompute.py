"""Blocks that compute again in the backward pass what they would otherwise keep (activation checkpointing)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from ...networks.base import Tower
from ...networks.batch_norm import has_batch_norms
from ...networks.towers.parts.blocks import dropout_layers, dropping, residual_blocks


def recompute(method: nn.Module) -> None:
    """Let the blocks of trained towers keep their inputs alone: the same gradient in less memory, for more time.

    Dropout is the same in both computations.

    Raises:
        ValueError: if no trained tower has blocks, or one has blocks with batch norms.
    """
    blocks = [
        block
        for tower in method.modules()
        if isinstance(tower, Tower) and any(p.requires_grad for p in tower.parameters())
        for block in residual_blocks(tower)
    ]
    if any(map(has_batch_norms, blocks)):
        raise ValueError(
            "recompute: blocks with batch norms would count every batch twice; take a tower with layer or group norms, "
            "or leave recompute out"
        )
    if not blocks:
        raise ValueError("recompute: no trained tower has blocks; take another tower, or leave recompute out")
    for block in blocks:
        block.forward = partial(_again, block.forward, dropout_layers(block))


def _again(forward: Callable[..., Any], layers: Sequence[nn.Dropout], *args: Any, **options: Any) -> Any:
    # A method may let layers drop out more or less for a while, which is over when the backward pass computes again.
    rates = [layer.p for layer in layers]

    def same(*args: Any, **options: Any) -> Any:
        with dropping(layers, rates):
            return forward(*args, **options)

    return checkpoint(same, *args, use_reentrant=False, **options)
