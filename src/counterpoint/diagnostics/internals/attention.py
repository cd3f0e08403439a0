"""The places where attention heads of a vision transformer look: how far, in which direction, at what.

Attention is ``(B, heads, 1 + N, 1 + N)`` with rows of queries that sum to 1; N patches on a grid follow the
class token (and registers, if any).

Source: Walmer et al., "Teaching Matters: Investigating the Role of Supervision in Vision Transformers" (2022),
arXiv 2212.03862.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

PAPERS = {"teaching-matters": ("aligned", "distance", "offsets", "salient")}

Grid = tuple[int, int]


def spatial(attention: Float[Tensor, "B heads n n"], prefix: int) -> Float[Tensor, "B heads N N"]:
    """Return the attention of patches to patches: without the first ``prefix`` tokens, rows again sum to 1.

    A row whose mass was all on those tokens stays zero: such heads would else look local.

    >>> spatial(torch.tensor([[[[1.0, 0, 0], [0.5, 0.25, 0.25], [1.0, 0, 0]]]]), 1).tolist()
    [[[[0.5, 0.5], [0.0, 0.0]]]]
    """
    kept = attention[..., prefix:, prefix:]
    mass = kept.sum(-1, keepdim=True)
    return torch.where(mass > 0, kept / mass.masked_fill(mass == 0, 1.0), 0.0)


def looked_at(attention: Float[Tensor, "B heads n n"], prefix: int) -> Float[Tensor, "B heads N"]:
    """Return how much each head looks at each patch of a picture: the class token's attention, which sums to 1.

    Without such a token the mean over the patches of theirs. Zeros for a head that looks at no patch.

    >>> looked_at(torch.tensor([[[[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]]), 1).tolist()
    [[[1.0, 0.0]]]
    """
    if not prefix:
        return attention.mean(2)
    weights = attention[..., 0, prefix:]
    mass = weights.sum(-1, keepdim=True)
    return torch.where(mass > 0, weights / mass.masked_fill(mass == 0, 1.0), 0.0)


def class_share(attention: Float[Tensor, "B heads n n"], prefix: int) -> Float[Tensor, " heads"]:
    """Return the share of the patches' attention that goes to the class token (token 0); zeros without one."""
    if not prefix:
        return attention.new_zeros(attention.shape[1])
    return attention[..., prefix:, 0].mean((0, 2))


def distance(patches: Float[Tensor, "B heads N N"], grid: Grid) -> Float[Tensor, " heads"]:
    """Compute how far each head looks: the mean over queries of ``Σ_k a_qk ‖p_q − p_k‖`` on a grid of side 1.

    0 for a head that looks at its own patch alone; 0.602 for one that looks everywhere alike on 7 × 7
    patches, 0.560 on 14 × 14, 0.521 in the limit. Rows of zeros, which look nowhere, are left out.

    >>> distance(torch.eye(4).reshape(1, 1, 4, 4), (2, 2)).item()
    0.0
    """
    points = _points(grid, patches)
    travelled = (patches * torch.cdist(points, points)).sum(-1)
    seen = patches.sum(-1) > 0
    total = (travelled * seen).sum((0, 2))
    return total / seen.sum((0, 2))


def _points(grid: Grid, like: Tensor) -> Float[Tensor, "N 2"]:
    """Return (y, x) of each patch on the unit square."""
    rows, columns = (torch.linspace(0, 1, n, dtype=like.dtype, device=like.device) for n in grid)
    return torch.cartesian_prod(rows, columns)


def aligned(patches: Float[Tensor, "B heads N N"], grid: Grid) -> Float[Tensor, "heads Y X"]:
    """Average the maps of each head over the queries, each map moved so that the query is in the middle.

    ``(2h − 1, 2w − 1)``. A cell is the mean over the queries for which it lies inside the picture, so that the
    edges do not dilute it.
    """
    h, w = grid
    mean = patches.mean(0)
    total = mean.new_zeros(len(mean), 2 * h - 1, 2 * w - 1)
    count = mean.new_zeros(2 * h - 1, 2 * w - 1)
    for query in range(h * w):
        i, j = divmod(query, w)
        window = (slice(h - 1 - i, 2 * h - 1 - i), slice(w - 1 - j, 2 * w - 1 - j))
        total[:, *window] += mean[:, query].reshape(-1, h, w)
        count[window] += 1
    return total / count


@dataclass(frozen=True)
class Offsets:
    """The directions in which heads look, from `aligned` maps brought to sum 1.

    Attributes:
        centre: the mean offset (right, down) of each head, in [−1, 1]; a step of one patch is 1 / (K − 1).
        steps: its length in patches.
        peak: the share of a head's mass in the 3 × 3 cells around its highest.
    """

    centre: Float[Tensor, "heads 2"]
    steps: Float[Tensor, " heads"]
    peak: Float[Tensor, " heads"]

    def local(self, least: float = 0.5, compact: float = 0.5) -> Bool[Tensor, " heads"]:
        """Return whether each head is offset local: off the query by over ``least`` patches, with a compact peak."""
        return (self.steps > least) & (self.peak > compact)


def offsets(maps: Float[Tensor, "heads Y X"]) -> Offsets:
    """Return the direction of each head.

    >>> found = offsets(torch.tensor([[[0.0, 0, 0], [0, 0, 1], [0, 0, 0]]]))   # looks one patch to the right
    >>> found.centre.tolist(), found.steps.tolist()
    ([[1.0, 0.0]], [1.0])
    """
    share = maps / maps.sum((1, 2), keepdim=True)
    down, right = (torch.linspace(-1, 1, n, dtype=share.dtype, device=share.device) for n in share.shape[1:])
    centre = torch.stack([share.sum(1) @ right, share.sum(2) @ down], 1)
    reach = torch.tensor([(n - 1) / 2 for n in reversed(share.shape[1:])]).to(share)
    around = 9 * F.avg_pool2d(share[:, None], 3, stride=1, padding=1)[:, 0]
    highest = share.flatten(1).argmax(1, keepdim=True)
    peak = around.flatten(1).gather(1, highest)[:, 0]
    return Offsets(centre, (centre * reach).norm(dim=1), peak)


def head_deviation(patches: Float[Tensor, "B heads N N"]) -> float:
    """Measure how much the heads of a block differ: the standard deviation over heads of the maps, averaged."""
    return float(patches.std(1, correction=0).mean())


def position_deviation(patches: Float[Tensor, "B heads N N"]) -> Float[Tensor, " heads"]:
    """Measure how much a head's map depends on the query: the deviation over queries, averaged.

    Near 0: a sparse repeating map that looks at the same places wherever it is asked from.
    """
    return patches.std(2, correction=0).mean((0, 2))


def salient(weights: Float[Tensor, "*batch N"], mass: float = 0.6) -> Bool[Tensor, "*batch N"]:
    """Return the fewest patches that hold this share of the attention, the class token's or the mean over patches.

    >>> salient(torch.tensor([0.1, 0.5, 0.3, 0.1])).tolist()
    [False, True, True, False]
    """
    ordered, order = weights.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    chosen = before < mass * weights.sum(-1, keepdim=True) - 1e-6
    return torch.zeros_like(chosen).scatter(-1, order, chosen)


def overlap(a: Bool[Tensor, "*batch N"], b: Bool[Tensor, "*#batch N"]) -> Float[Tensor, "*batch"]:
    """Return the intersection over union of two masks; NaN where both are empty.

    >>> overlap(torch.tensor([True, True, False]), torch.tensor([False, True, True])).item()
    0.3333333432674408
    """
    return (a & b).sum(-1) / (a | b).sum(-1)
