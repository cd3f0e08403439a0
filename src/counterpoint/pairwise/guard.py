"""The traps that lose a gradient in silence, made errors.

Tiles are recomputed on detached pieces of the named tensors, so a parameter that a tile's terms merely
capture from outside would receive no gradient. A walk over the graph of the first tile finds every such
tensor. And gradients that were computed tile by tile are constants to whoever differentiates them again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import wraps
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Backward: TypeAlias = Callable[..., Any]


def check(terms: Callable[..., Any], tensors: Iterable[Tensor], inputs: Collection[Tensor]) -> None:
    """Refuse tensors of a tile that depend on anything differentiable but the tile's inputs.

    Raises:
        ValueError: naming what was captured.
    """
    nodes = {t.grad_fn for t in inputs if t.grad_fn is not None}
    leaves = {id(t) for t in inputs}
    todo: list[Any] = [t.grad_fn for t in tensors if t.grad_fn is not None]
    todo += [_Leaf(t) for t in tensors if t.grad_fn is None and t.requires_grad]
    seen: set[Any] = set()
    while todo:
        node: Any = todo.pop()
        # Behind the inputs lies the caller's graph, which gets its gradient from there.
        if node in seen or node in nodes:
            continue
        seen.add(node)
        # Only the nodes at which a graph ends, in a leaf, have a variable.
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) not in leaves:
            name = _name(terms, variable)
            raise ValueError(
                f"the terms of a tile use {name}, which requires grad but is not named in rows, columns or "
                "shared, so its gradient would be lost: name it there and read it from the tile"
            )
        todo += [following for following, _ in node.next_functions if following is not None]


class SecondDerivativeError(RuntimeError):
    """A gradient of tiles was to be differentiated again; the message says how to have that."""


def first_order(instead: str) -> Callable[[Backward], Backward]:
    """Refuse ``create_graph=True`` in a backward pass whose result has no derivative of its own.

    PyTorch's ``once_differentiable`` does so only where the incoming gradient requires one, which that of a mean does
    not; elsewhere second derivatives would miss this part of the graph without a word.

    Args:
        instead: how to get them, the end of the message.

    Raises:
        SecondDerivativeError: by the backward pass.
    """

    def refusing(backward: Backward) -> Backward:
        @wraps(backward)
        def checked(ctx: Any, *gradients: Tensor | None) -> Any:
            # Gradients are recorded in a backward pass only where a graph of the pass itself is asked for.
            if torch.is_grad_enabled():
                raise SecondDerivativeError(
                    f"this gradient cannot be differentiated again, as create_graph=True asks for: {instead}"
                )
            return backward(ctx, *gradients)

        return checked

    return refusing


class _Leaf:
    """A leaf that is itself a tile's tensor, in the shape of a graph node."""

    next_functions = ()

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable


def _name(terms: Callable[..., Any], variable: Tensor) -> str:
    """Find the name that the terms give a tensor that they captured, as far as their closure tells."""
    code, cells = getattr(terms, "__code__", None), getattr(terms, "__closure__", None) or ()
    for name, cell in zip(code.co_freevars if code else (), cells, strict=False):
        held = cell.cell_contents
        if held is variable:
            return f"{name!r}"
        if isinstance(held, nn.Module):
            for parameter_name, parameter in held.named_parameters():
                if parameter is variable:
                    return f"'{name}.{parameter_name}'"
    return f"a tensor of shape {tuple(variable.shape)}"
