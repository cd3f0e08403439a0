"""Ablations: the fall of a network's score without one of the network's steps.

Source: the lesion study of Park and Kim, "How Do Vision Transformers Work?" (2022), arXiv 2202.06709.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...networks.towers.convnet import Residual
from ..capture import Step, blocks_of, halves_of

PAPERS = {"how-vits-work": ("ablations",)}


def steps_of(tower: nn.Module) -> tuple[Step, ...]:
    """Return the steps that can be taken out: attention and feed-forward halves, or the branches of convolutions.

    Raises:
        ValueError: if the tower has no residual blocks whose branches are known.
    """
    steps: list[Step] = []
    for index, block in enumerate(blocks_of(tower)):
        if halves_of(block):
            steps += [Step(index, "attention"), Step(index, "mlp")]
        elif isinstance(block, Residual):
            steps.append(Step(index, "block"))
        else:
            raise ValueError(
                f"the branches of a {type(block).__name__} of {type(tower).__name__} are not known, so none can be "
                f"taken out; known are pre-norm transformer blocks and the built-in cnn's"
            )
    return tuple(steps)


@contextmanager
def ablated(tower: nn.Module, step: Step) -> Iterator[None]:
    """Take one step out of the tower while inside: the step's branch adds nothing, and the residual goes on.

    >>> from counterpoint.networks.towers.transformer import VisionTransformer
    >>> tower = VisionTransformer(size=16, depth=1, width=8, heads=2)
    >>> with ablated(tower, Step(0, "mlp")):
    ...     found = tower(torch.zeros(2, 3, 16, 16))
    """
    handle = _branch(blocks_of(tower)[step.block], step.kind).register_forward_hook(_nothing)
    try:
        yield
    finally:
        handle.remove()


def ablations(tower: nn.Module, score: Callable[[], float]) -> dict[Step, float]:
    """Compute how much a score falls without each step.

    Args:
        tower: a part of whatever is scored.
        score: of the model as it is; called once whole, and once without each step.

    Raises:
        ValueError: as of `steps_of`.
    """
    whole = score()
    losses = {}
    for step in steps_of(tower):
        with ablated(tower, step):
            losses[step] = whole - score()
    return losses


def _branch(block: nn.Module, kind: str) -> nn.Module:
    halves = halves_of(block)
    if halves is None:
        return block.get_submodule("conv_2")
    return block.get_submodule(halves.attention if kind == "attention" else halves.mlp)


def _nothing(module: nn.Module, args: Any, output: Any) -> Any:
    if isinstance(output, Tensor):
        return torch.zeros_like(output)
    return (torch.zeros_like(output[0]), *output[1:])
