"""The push of a contrastive loss, shared among the negatives, from the temperature and the similarities alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..pairwise import LogSumExp, Tile, TopK, WeightedMean
from ..pairwise.reduce import reduce
from ..pairwise.reductions import Reduction

PAPERS = {"contrastive-loss-behaviour": ("hardness",)}

TEMPERATURES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class Hardness:
    """The results of `hardness` at each temperature; means over anchors.

    Attributes:
        temperatures: τ.
        entropy: of the shares of the negatives, in nats; log(n − 1) where all are pushed alike.
        effective: e to that: how many negatives the push falls on.
        hardest: the share that the hardest of them receive together.
        push: the probability of all negatives, ``Σ_{j≠i} P_ij``: τ times the gradient of the positive.
    """

    temperatures: tuple[float, ...]
    entropy: tuple[float, ...]
    effective: tuple[float, ...]
    hardest: tuple[float, ...]
    push: tuple[float, ...]


def hardness(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "n d"],
    temperatures: Sequence[float] = TEMPERATURES,
    fraction: float = 0.01,
) -> Hardness:
    """Compute the shares of an anchor's negatives in the gradient of InfoNCE, by temperature.

    With cosines s_ij of anchor x_i and item y_j, the gradient of a negative relative to the positive's is

        r_ij = exp(s_ij / τ) / Σ_{k≠i} exp(s_ik / τ),        j ≠ i

    a Boltzmann distribution over negatives alone (with the positive among them it is P_ij, another curve).
    Its entropy rises with τ: at a low one only the hardest negative counts, at a high one all count alike.
    Computed tile by tile.

    Args:
        x, y: matched embeddings, row by row; made unit-norm here.
        temperatures: which τ, above 0.
        fraction: what part of the negatives, rounded up, counts as the hardest; in (0, 1].

    Raises:
        ValueError: if the shapes differ or there are fewer than 3 rows, for a temperature that is not above 0,
            or a fraction outside (0, 1].

    Source: contrastive-loss-behaviour (Wang & Liu 2021).

    >>> found = hardness(torch.eye(5), torch.eye(5), temperatures=[0.1])
    >>> round(found.effective[0], 6), round(found.hardest[0], 6)
    (4.0, 0.25)
    """
    n = len(x)
    if x.shape != y.shape or n < 3:
        raise ValueError(
            f"hardness compares the negatives of matched rows; got shapes {tuple(x.shape)} and {tuple(y.shape)}, "
            f"which must be equal and have at least 3 rows"
        )
    if not 0 < fraction <= 1 or min(temperatures, default=1.0) <= 0:
        raise ValueError(
            f"fraction={fraction} must be in (0, 1] and temperatures={tuple(temperatures)} above 0"
        )
    x, y = (F.normalize(z.double(), dim=-1) for z in (x, y))
    most = ceil(fraction * (n - 1))
    positive = (x * y).sum(1)
    columns = [_at(x, y, positive, tau, most) for tau in temperatures]
    return Hardness(tuple(temperatures), *(tuple(column) for column in zip(*columns, strict=True)))


@torch.no_grad()
def _at(x: Tensor, y: Tensor, positive: Tensor, tau: float, most: int) -> tuple[float, float, float, float]:
    def terms(tile: Tile) -> Mapping[str, Mapping[str, Reduction]]:
        logits = tile.off_diagonal(tile.dot() / tau)
        finite = logits.masked_fill(logits.isinf(), 0.0)
        return {
            "row": {
                "all": LogSumExp(logits),
                "mean": WeightedMean(logits, finite),
                "top": TopK(logits, most),
            }
        }

    reduced = reduce(terms, rows={"z": x}, columns={"z": y}).row
    entropy = reduced.all - reduced.mean
    hardest = (reduced.top.values.logsumexp(1) - reduced.all).exp()
    push = (reduced.all - positive / tau).sigmoid()
    return float(entropy.mean()), float(entropy.exp().mean()), float(hardest.mean()), float(push.mean())
