"""State-space layers: recurrences whose decay and input depend on the tokens, after Mamba and Mamba-2."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .heads import Linear

PAPERS = {"mixture-of-mamba": ("SelectiveMixer", "SplitLinear"), "ml-mamba": ("DualMixer",)}
PROJECTIONS = ("in", "x", "dt", "out")
"""The linear layers of a `SelectiveMixer`."""
_STEPS = (0.001, 0.1)
"""Range of the step sizes at the start."""


class _LinearRecurrence(torch.autograd.Function):
    """``s_t = a_t s_{t−1} + x_t`` along the first axis, without a graph of every step."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, x: Tensor) -> Tensor:
        states = x.clone()
        for t in range(1, len(x)):
            states[t].addcmul_(decay[t], states[t - 1])
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        decay, states = ctx.saved_tensors
        of_x = grads[0].clone()
        for t in range(len(of_x) - 2, -1, -1):
            of_x[t].addcmul_(decay[t + 1], of_x[t + 1])
        of_decay = torch.zeros_like(decay)
        torch.mul(of_x[1:], states[:-1], out=of_decay[1:])
        return of_decay, of_x


def linear_recurrence(decay: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the states ``s_t = a_t s_{t−1} + x_t``, which begin from 0.

    >>> linear_recurrence(torch.full((3,), 0.5), torch.tensor([4.0, 0.0, 1.0])).tolist()
    [4.0, 2.0, 2.0]
    """
    return _LinearRecurrence.apply(decay, x)  # type: ignore[no-untyped-call] # torch's


class SplitLinear(nn.Module):
    """A linear layer with weights of their own for tokens of texts and for those of pictures.

    Both begin as those of a layer that is given.

    Args:
        linear: the layer.

    Attributes:
        of_pictures: which tokens are of pictures; None for none of them.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().repeat(2, 1, 1))
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().repeat(2, 1))
        self.of_pictures: Bool[Tensor, " L"] | None = None

    def forward(self, x: Float[Tensor, "B L W"]) -> Float[Tensor, "B L V"]:
        mask = self.of_pictures
        if mask is None:
            mask = torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
        weights = [(w, None if self.bias is None else self.bias[n]) for n, w in enumerate(self.weight)]
        parts = [F.linear(x[:, mask == bool(n)], *weight) for n, weight in enumerate(weights)]
        # The tokens of each kind are one behind the other in the parts.
        order = torch.argsort(mask.long(), stable=True)
        return torch.cat(parts, 1)[:, torch.argsort(order)]


class SelectiveMixer(nn.Module):
    """The mixer of a block of Mamba.

        [x; z] = W_in h,   x ← SiLU(causal depthwise convolution of x),   [r; B; C] = W_x x
        δ = softplus(W_dt r + b_dt),   A = −exp(A_log)
        s_t = exp(δ_t A) s_{t−1} + δ_t B_t x_t,   y_t = C_t s_t + D x_t,   output: W_out (y ⊙ SiLU(z))

    The parameters have the names and shapes of ``MambaMixer`` of transformers, whose projections are read without
    being called, so that none of them can be replaced there. Here they can: see `split`.

    Args:
        mixer: a ``MambaMixer``, whose parameters are taken over.

    Source: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (2023), arXiv 2312.00752.
    """

    def __init__(self, mixer: Any) -> None:
        super().__init__()
        self.conv1d, self.A_log, self.D = mixer.conv1d, mixer.A_log, mixer.D
        self.in_proj, self.x_proj = mixer.in_proj, mixer.x_proj
        self.dt_proj, self.out_proj = mixer.dt_proj, mixer.out_proj

    def split(self, projections: Sequence[str]) -> None:
        """Give some of the projections weights of their own for tokens of pictures, which begin as those of texts."""
        for name in projections:
            setattr(self, f"{name}_proj", SplitLinear(getattr(self, f"{name}_proj")))

    def forward(self, hidden_states: Float[Tensor, "B L W"], **_: Any) -> Float[Tensor, "B L W"]:
        x, gate = self.in_proj(hidden_states).chunk(2, -1)
        x = F.silu(causal_convolution(self.conv1d, x))
        size, rank = self.A_log.shape[1], self.dt_proj.weight.shape[-1]
        steps, b, c = torch.split(self.x_proj(x), [rank, size, size], -1)
        delta = F.softplus(self.dt_proj(steps))
        # Time comes first: each step of the recurrence reads one block of memory.
        x_t, delta_t, b_t, c_t = (part.transpose(0, 1) for part in (x, delta, b, c))
        decay = torch.exp(delta_t[..., None] * -torch.exp(self.A_log))
        states = linear_recurrence(decay, (delta_t * x_t)[..., None] * b_t[:, :, None])
        y = (states @ c_t[..., None])[..., 0].transpose(0, 1) + self.D * x
        return self.out_proj(y * F.silu(gate))


@contextmanager
def routed(layers: Iterable[SplitLinear], of_pictures: Bool[Tensor, " L"] | None) -> Iterator[None]:
    """Tell split layers which tokens are of pictures, inside a ``with`` block."""
    layers = list(layers)
    for layer in layers:
        layer.of_pictures = of_pictures
    try:
        yield
    finally:
        for layer in layers:
            layer.of_pictures = None


class DualMixer(nn.Module):
    """The mixer of a block of Mamba-2 in its quadratic form, for sequences of a few hundred tokens.

        [z; x; B; C; δ] = W_in h,   [x; B; C] ← SiLU(causal depthwise convolution)
        δ = softplus(δ + b),   a_t = exp(−δ_t exp(A_log)),   L_tu = a_{u+1} ⋯ a_t for u ≤ t, else 0
        y = (L ⊙ C Bᵀ) (δ x) + D x,   output: W_out RMSNorm(y ⊙ SiLU(z))

    Each head has an A, a D and a b; B and C are shared. The parameters have the names and shapes of ``Mamba2Mixer`` of
    transformers with one group.

    Args:
        width: of a token.
        size: N, of the state of a channel.
        head: channels of a head.
        kernel: of the convolution.

    Raises:
        ValueError: for a width of which heads are no part.

    Source: Dao and Gu, "Transformers are SSMs" (2024), arXiv 2405.21060.
    """

    def __init__(self, width: int, size: int = 16, head: int = 16, kernel: int = 4) -> None:
        super().__init__()
        self.inner, self.size, self.head = 2 * width, size, min(head, 2 * width)
        if self.inner % self.head:
            raise ValueError(f"width {width}: twice the width must be a multiple of {self.head}")
        self.heads = self.inner // self.head
        mixed = self.inner + 2 * size
        self.in_proj = Linear(width, self.inner + mixed + self.heads)
        self.conv1d = nn.Conv1d(mixed, mixed, kernel, groups=mixed, padding=kernel - 1)
        self.dt_bias, self.A_log, self.D = (nn.Parameter(torch.empty(self.heads)) for _ in range(3))
        self.norm = nn.RMSNorm(self.inner, eps=1e-5)
        self.out_proj = Linear(self.inner, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw step sizes evenly in their logarithm, and count decays from 1."""
        low, high = map(math.log, _STEPS)
        with torch.no_grad():
            step = torch.exp(low + (high - low) * torch.rand(self.heads))
            self.dt_bias.copy_(step + torch.log(-torch.expm1(-step)))
            self.A_log.copy_(torch.arange(1, self.heads + 1).log())
            self.D.fill_(1.0)

    def forward(self, tokens: Float[Tensor, "B L W"]) -> Float[Tensor, "B L W"]:
        gate, mixed, step = torch.split(
            self.in_proj(tokens), [self.inner, self.inner + 2 * self.size, self.heads], -1
        )
        mixed = F.silu(causal_convolution(self.conv1d, mixed))
        x, b, c = torch.split(mixed, [self.inner, self.size, self.size], -1)
        x = x.reshape(*x.shape[:2], self.heads, self.head).transpose(1, 2)
        step = F.softplus(step + self.dt_bias).mT  # (B, heads, L)
        total = (-self.A_log.exp()[:, None] * step).cumsum(-1)
        between = total[..., :, None] - total[..., None, :]
        earlier = torch.ones_like(between[0, 0], dtype=torch.bool).tril()
        weights = between.masked_fill(~earlier, -math.inf).exp() * (c @ b.mT)[:, None]
        y = weights @ (step[..., None] * x) + self.D[:, None, None] * x
        return self.out_proj(self.norm(y.transpose(1, 2).flatten(2) * F.silu(gate)))


def causal_convolution(convolution: nn.Conv1d, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
    """Return a depthwise convolution whose output at a token is of it and earlier ones.

    Args:
        convolution: padded by one less than its kernel.
        x: tokens.
    """
    return convolution(x.mT)[..., : x.shape[1]].mT
