"""Consistency of speech and its transcript along the best monotone alignment of the two."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..forms import NonNegative
from ..pairwise.inputs import upcast
from ..pairwise.loss import Loss
from ._distances import lengths_of
from .mil import check_bags


class BestAlignmentLoss(Loss):
    """The mean cost of a frame along the cheapest way in which frames say the tokens one after the other.

        loss = mean_i 1/T_i min_π Σ_t c(t, π(t)),   c(t, n) = ‖x_t − y_n‖² / d
        π(1) = 1,  π(T) = N,  π(t + 1) − π(t) ∈ {0, 1}

    Every token is said and no frame says two, so an example needs as many frames as it has tokens at least. The path is
    constant to the gradient. With ``gamma`` the minimum is the soft one, −γ log Σ_π exp(−Σ_t c / γ), whose gradient is
    the probability that a frame says a token; as γ → 0 it is the hard one.

    Alone it has a trivial minimum, all states the same: use it beside a loss that tells tokens apart (CTC, a contrast).

    Args:
        cost: ``"euclidean"`` as above, or ``"cosine"``, 1 − cos.
        gamma: γ ≥ 0; 0 is the hard minimum.
        path: ``"uniform"`` is π(t) = ⌈tN/T⌉ in place of the best one, to compare with.
        detach: whether the tokens' states get no gradient.

    Raises:
        ValueError: for inputs or masks that do not fit, masks with a gap, an example with fewer frames than tokens, and
            for ``gamma`` with a uniform path.

    Source: Peyser et al., "Improving Joint Speech-Text Representations Without Alignment" (2023), arXiv 2308.06125. The
    steps and the cost are from memory, as there is no code of the authors'.

    >>> x, y = torch.tensor([[[0.0], [1.0], [1.0], [5.0]]]), torch.tensor([[[0.0], [1.0], [4.0]]])
    >>> BestAlignmentLoss()(x, y).item()                # 0, 1, 1, 4: the last frame costs 1
    0.25
    """

    family = "sequences"
    papers = ("best-alignment-speech-text",)

    def __init__(
        self,
        *,
        cost: Literal["euclidean", "cosine"] = "euclidean",
        gamma: NonNegative = 0.0,
        path: Literal["best", "uniform"] = "best",
        detach: bool = False,
    ) -> None:
        super().__init__()
        if gamma and path == "uniform":
            raise ValueError(f"gamma={gamma:g} softens the best path, and path=uniform is another one")
        self.cost, self.gamma, self.path, self.detach = cost, gamma, path, detach

    def forward(
        self,
        x: Float[Tensor, "B T d"],
        y: Float[Tensor, "B N d"],
        *,
        x_mask: Bool[Tensor, "B T"] | None = None,
        y_mask: Bool[Tensor, "B N"] | None = None,
        rows: Bool[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of frames ``x`` and tokens ``y``.

        Masks are True where there is one; those behind are behind the end. Only ``rows`` count: what the others hold
        does not matter, and where no rank has one the loss is 0.
        """
        check_bags(x, y, None, None)
        frames, tokens = lengths_of("x", x, x_mask), lengths_of("y", y, y_mask)
        rows = torch.ones_like(frames, dtype=torch.bool) if rows is None else rows
        if len(short := (rows & ((frames < tokens) | (tokens < 1))).nonzero()[:, 0]):
            row = int(short[0])
            raise ValueError(
                f"example {row} has {int(frames[row])} frames for {int(tokens[row])} tokens, of which each needs one: "
                "leave it out (rows), or take shorter frames or longer tokens"
            )
        chosen = rows.nonzero()[:, 0]
        x, y = upcast(x[chosen]), upcast(y[chosen])
        costs = self.costs(x, y.detach() if self.detach else y, frames[chosen], tokens[chosen])
        every = costs.new_zeros(len(rows)).index_copy(0, chosen, costs / frames[chosen])
        return self.mean(every, rows.to(every.dtype))

    def costs(
        self,
        x: Float[Tensor, "B T d"],
        y: Float[Tensor, "B N d"],
        frames: Int[Tensor, " B"],
        tokens: Int[Tensor, " B"],
    ) -> Float[Tensor, " B"]:
        """Return the costs of the alignments of pairs of sequences, of which only the first frames and tokens count."""
        if self.cost == "cosine":
            x, y = F.normalize(x, dim=-1), F.normalize(y, dim=-1)
        scale = 0.5 if self.cost == "cosine" else 1 / x.shape[-1]
        if self.gamma:
            costs = _distances(x, y) * scale
            return _SoftAlignment.apply(costs, frames, tokens, self.gamma)  # type: ignore[no-untyped-call] # torch's
        with torch.no_grad():
            uniform = self.path == "uniform"
            path = (
                uniform_path(frames, tokens, x.shape[1])
                if uniform
                else best_path(_distances(x, y), frames, tokens)
            )
        matched = y.gather(1, path[..., None].expand(-1, -1, y.shape[2]))
        along = (x - matched).square().sum(-1) * scale
        return (along * _before(frames, x.shape[1])).sum(1)


def _before(lengths: Int[Tensor, " B"], times: int) -> Bool[Tensor, "B times"]:
    """Return which times of sequences of some lengths are theirs."""
    return torch.arange(times, device=lengths.device) < lengths[:, None]


@torch.no_grad()
def best_path(
    costs: Float[Tensor, "B T N"], frames: Int[Tensor, " B"], tokens: Int[Tensor, " B"]
) -> Int[Tensor, "B T"]:
    """Return the token of each frame on the cheapest monotone path; behind the end of a sequence its last token.

    >>> costs = torch.tensor([[[0.0, 9.0], [2.0, 1.0], [9.0, 0.0]]])
    >>> best_path(costs, torch.tensor([3]), torch.tensor([2])).tolist()
    [[0, 1, 1]]

    Args:
        costs: of a frame that says a token; in float32, since a sum of half precision has no room for infinity.
        frames, tokens: of each pair, no fewer frames than tokens.
    """
    pairs, times, _ = costs.shape
    steps = costs.transpose(0, 1)
    # Before the first token there is one that costs too much to begin with.
    total = costs.new_full((pairs, costs.shape[2] + 1), torch.inf)
    total[:, 1] = steps[0, :, 0]
    moves = torch.zeros(times, pairs, costs.shape[2], dtype=torch.bool, device=costs.device)
    for time in range(1, times):
        stay, move = total[:, 1:], total[:, :-1]
        torch.lt(move, stay, out=moves[time])
        total[:, 1:] = torch.minimum(stay, move) + steps[time]
    path = torch.empty(times, pairs, dtype=torch.long, device=costs.device)
    position = tokens - 1
    inside = _before(frames, times).T
    for time in reversed(range(times)):
        path[time] = position
        moved = moves[time].gather(1, position[:, None])[:, 0] & inside[time]
        position = position - moved.long()
    return path.T


def uniform_path(frames: Int[Tensor, " B"], tokens: Int[Tensor, " B"], times: int) -> Int[Tensor, "B times"]:
    """Return the token of each frame where all are said for as long: π(t) = ⌈tN/T⌉.

    >>> uniform_path(torch.tensor([3, 4]), torch.tensor([2, 2]), 4).tolist()
    [[0, 1, 1, 1], [0, 0, 1, 1]]
    """
    time = torch.arange(1, times + 1, device=frames.device)
    position = (time * tokens[:, None] + frames[:, None] - 1) // frames[:, None] - 1
    return torch.minimum(position, tokens[:, None] - 1)


class _SoftAlignment(torch.autograd.Function):
    """−γ log Σ_π exp(−Σ_t c(t, π(t)) / γ) of all pairs; its gradient: the paths that say n at t."""

    @staticmethod
    def forward(ctx: Any, costs: Tensor, frames: Tensor, tokens: Tensor, gamma: float) -> Tensor:
        steps = (-costs / gamma).transpose(0, 1)
        none = torch.full_like(costs[:, :1, 0], -torch.inf)
        ahead, behind = torch.empty_like(steps), torch.empty_like(steps)
        first = torch.full_like(costs[:, 0], -torch.inf)
        last = first.clone()
        first[:, 0] = 0
        last.scatter_(1, tokens[:, None] - 1, 0.0)
        ahead[0] = first + steps[0]
        for time in range(1, len(steps)):
            moved = torch.cat([none, ahead[time - 1, :, :-1]], 1)
            ahead[time] = torch.logaddexp(ahead[time - 1], moved) + steps[time]
        then = torch.full_like(first, -torch.inf)
        for time in reversed(range(len(steps))):
            ends = (frames - 1 == time)[:, None]
            behind[time] = torch.where(ends, last, then)
            scores = behind[time] + steps[time]
            then = torch.logaddexp(scores, torch.cat([scores[:, 1:], none], 1))
        rows = torch.arange(len(costs), device=costs.device)
        whole = ahead[frames - 1, rows, tokens - 1]
        ctx.save_for_backward((ahead + behind - whole[:, None]).exp().transpose(0, 1))
        return -gamma * whole

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (shares,) = ctx.saved_tensors
        return gradient[:, None, None] * shares, None, None, None


def _distances(x: Float[Tensor, "B T d"], y: Float[Tensor, "B N d"]) -> Float[Tensor, "B T N"]:
    """Return squared distances of all frames and tokens."""
    with torch.autocast(x.device.type, enabled=False):  # which would round the product to half precision
        products = x @ y.mT
    return (x.square().sum(-1)[..., None] + y.square().sum(-1)[:, None] - 2 * products).clamp_min(0)
