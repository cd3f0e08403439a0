"""Log-probabilities of tokens from states, without the logits of all tokens and all words at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..pairwise.inputs import upcast

AT_ONCE = 2**23
"""Logits that are computed at once."""
_LEAST = 64
"""Rows of a tile, at least: a product of fewer takes longer for each."""


def shaped_logits(
    logits: Float[Tensor, "*n"], scale: float = 1.0, cap: float | None = None
) -> Float[Tensor, "*n"]:
    """Return logits as a language model has them: ``c tanh(s x / c)``, or ``s x`` without a cap.

    Args:
        logits: x, what the head gives.
        scale: s.
        cap: c.
    """
    if scale != 1:
        logits = logits * scale
    return logits if cap is None else cap * torch.tanh(logits / cap)


def token_log_p(
    head: nn.Linear,
    states: Float[Tensor, "n W"],
    tokens: Int[Tensor, " n"],
    *,
    scale: float = 1.0,
    cap: float | None = None,
    at_once: int = AT_ONCE,
) -> Float[Tensor, " n"]:
    """Return the log-probability of each token behind its state: minus the cross-entropy of the head's logits.

    More than ``at_once`` logits are computed tile by tile. No tensor then has the size of tokens × words, and the
    gradients are computed in the forward pass. They are those of the sum, and the backward pass multiplies them by the
    gradient of the log-probabilities. That of the head is computed anew if the log-probabilities of tokens have
    different gradients. Gradients of gradients need one tile.

    Args:
        head: from states to logits.
        states: of the language model.
        tokens: that follow the states.
        scale, cap: of the logits, see `shaped_logits`.
        at_once: logits of a tile.
    """
    rows = max(at_once // max(head.out_features, 1), _LEAST)
    if len(tokens) <= rows:
        logits = shaped_logits(upcast(head(states)), scale, cap)
        return -F.cross_entropy(logits, tokens, reduction="none")
    kind = states.device.type
    parts: tuple[Tensor | None, ...] = states, head.weight, head.bias
    if torch.is_autocast_enabled(kind):
        lower = torch.get_autocast_dtype(kind)
        parts = tuple(it if it is None else it.to(lower) for it in parts)
    apply: Any = _TiledLogP.apply
    with torch.autocast(kind, enabled=False):
        log_p: Tensor = apply(*parts, tokens, rows, scale, cap)
    return log_p


class _TiledLogP(torch.autograd.Function):
    """Log-probabilities of tokens, and the gradients of their sum."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        rows: int,
        scale: float,
        cap: float | None,
    ) -> Tensor:
        ctx.rows, ctx.shape = rows, (scale, cap)
        needed = ctx.needs_input_grad[:3]
        log_p = upcast(states[:0]).new_empty(len(tokens))
        of_states = torch.empty_like(states) if needed[0] else None
        of_head = _zeros(weight, bias, needed)
        for part, logits in _tiles(states, weight, bias, rows, ctx.shape):
            total = logits.logsumexp(1)
            log_p[part] = logits.gather(1, tokens[part, None])[:, 0] - total
            if not any(needed):
                continue
            slope = _slope(logits, total, tokens[part], ctx.shape)
            if of_states is not None:
                of_states[part] = slope.to(weight.dtype) @ weight
            _add(of_head, slope, states[part])
        ctx.save_for_backward(states, weight, bias, tokens, of_states, *of_head)
        return log_p

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        states, weight, bias, tokens, of_states, *of_head = ctx.saved_tensors
        if of_states is not None:
            of_states = of_states * grad[:, None].to(of_states.dtype)
        if any(it is not None for it in of_head):
            mean = grad.mean()
            # A mean over tokens gives all the same gradient, up to the rounding of its factors.
            if bool((grad - mean).abs().max() <= 8 * torch.finfo(grad.dtype).eps * mean.abs()):
                of_head = [it if it is None else it * mean for it in of_head]
            else:
                of_head = _zeros(weight, bias, ctx.needs_input_grad)
                for part, logits in _tiles(states, weight, bias, ctx.rows, ctx.shape):
                    slope = _slope(logits, logits.logsumexp(1), tokens[part], ctx.shape)
                    _add(of_head, slope.mul_(grad[part, None]), states[part])
        of_weight, of_bias = (
            it if it is None else it.to(like.dtype) for it, like in zip(of_head, (weight, bias), strict=True)
        )
        return of_states, of_weight, of_bias, None, None, None, None


def _tiles(
    states: Tensor, weight: Tensor, bias: Tensor | None, rows: int, shape: tuple[float, float | None]
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the logits of some rows at a time."""
    for start in range(0, len(states), rows):
        part = slice(start, start + rows)
        yield part, shaped_logits(upcast(F.linear(states[part], weight, bias)), *shape)


def _slope(logits: Tensor, total: Tensor, tokens: Tensor, shape: tuple[float, float | None]) -> Tensor:
    """Return the gradient of log-probabilities to what the head gives; it overwrites the logits."""
    scale, cap = shape
    of_shape = None if cap is None else 1 - (logits / cap).square()
    slope = logits.sub_(total[:, None]).exp_().neg_()
    slope.scatter_add_(1, tokens[:, None], torch.ones_like(slope[:, :1]))
    if of_shape is not None:
        slope.mul_(of_shape)
    return slope if scale == 1 else slope.mul_(scale)


def _zeros(weight: Tensor, bias: Tensor | None, needed: tuple[bool, ...]) -> list[Tensor | None]:
    return [
        torch.zeros_like(it, dtype=upcast(it[:0]).dtype) if it is not None and wanted else None
        for it, wanted in zip((weight, bias), needed[1:3], strict=True)
    ]


def _add(of_head: list[Tensor | None], slope: Tensor, states: Tensor) -> None:
    of_weight, of_bias = of_head
    if of_weight is not None and of_weight.dtype == states.dtype:
        of_weight.addmm_(slope.T, states)
    elif of_weight is not None:
        of_weight += slope.to(states.dtype).T @ states
    if of_bias is not None:
        of_bias += slope.sum(0)
