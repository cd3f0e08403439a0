"""Joint example selection: the part of a batch of pairs whose examples are worth most beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Count
from .inputs import dot, softplus
from .ranks import Ranks
from .reduce import reduce
from .reductions import Sum
from .tile import Tile

PAPERS = {"jest": ("select",)}

FirstChunk = Literal["own", "uniform"]
"""Ways to draw the first chunk: by the scores of the candidates' own pairs, or all alike."""


@dataclass(frozen=True)
class Judge:
    """A model's losses of all pairs of a batch, which count with a weight; they are never formed.

        ell_ij = softplus(−z_ij (<x_i, y_j> + b)),   z_ij = +1 if i = j else −1

    Attributes:
        x: unit-norm embeddings times the model's own scale 1/τ, ``(B, d)``; on several ranks this one's rows.
        y: unit-norm embeddings of the other side.
        bias: the model's own b.
        weight: of its losses in the score: +1 for a learner, −1 for a reference.
    """

    x: Float[Tensor, "B d"]
    y: Float[Tensor, "B d"]
    bias: Float[Tensor, ""]
    weight: float = 1.0

    def own(self) -> Float[Tensor, " B"]:
        """Return the losses ell_ii of the pairs that belong together."""
        return softplus(-(dot(self.x, self.y) + self.bias))


@torch.no_grad()
def select(
    judges: Sequence[Judge],
    count: Count,
    *,
    chunks: Count = 16,
    first: FirstChunk = "own",
    averaged: bool = False,
) -> Int[Tensor, " count"]:
    """Draw examples chunk by chunk, each given what is chosen already, without a matrix of all pairs.

        S_ij = Σ_judges w ell_ij,   p(k) ∝ exp(S_kk + Σ_{i chosen} (S_ik + S_ki))

    Draws are without replacement, by the largest of the logits plus Gumbel noise, and so without an exponential. Logits
    grow with what is chosen: late chunks are nearly deterministic, unless ``averaged``. One chunk is an independent
    choice by S_kk alone. Noise comes from torch's generator, which must be the same on every rank.

    Args:
        judges: of the same pairs.
        count: how many to choose; all where there are no more.
        chunks: in how many parts; each is of ``count / chunks`` examples, rounded up, and the last may have fewer.
        first: how the first chunk is drawn. A re-implementation draws it uniformly; the paper was not checked.
        averaged: logits are divided by their number of terms, 2 n + 1 with n chosen, as that re-implementation does.

    Returns:
        Positions in the batch of all ranks, in their order, the same on every rank.

    Source: Evans et al., "Data curation via joint example selection further accelerates multimodal learning" (2024),
    arXiv 2406.17711.

    >>> x, easy = torch.eye(4), torch.tensor([9.0, 9.0, -9.0, -9.0])[:, None]
    >>> select([Judge(90 * easy * x, x, torch.tensor(0.0))], 2, chunks=1)   # the two whose own loss is high
    tensor([2, 3])
    """
    ranks, device = Ranks.present(), judges[0].x.device
    counts = ranks.counts(len(judges[0].x), device)
    total = sum(counts)
    if count >= total:
        return torch.arange(total, device=device)
    losses = ranks.gather(_weighted((judge.weight, judge.own()) for judge in judges), counts)
    logits = losses if first == "own" else torch.zeros_like(losses)
    beside, taken, chosen = torch.zeros_like(losses), torch.zeros_like(losses, dtype=torch.bool), 0
    while True:
        # Drawn on the processor, where every rank's generator stands alike: −log of an exponential draw is Gumbel's.
        noise = -torch.empty(total, dtype=torch.float64).exponential_().log()
        drawn = (logits + noise.to(device)).masked_fill(taken, -torch.inf)
        new = drawn.topk(min(-(-count // chunks), count - chosen)).indices
        taken[new], chosen = True, chosen + len(new)
        if chosen == count:
            return taken.nonzero()[:, 0]
        beside += ranks.gather(_new_sums(judges, new, counts, ranks), counts)
        logits = (losses + beside) / (2 * chosen + 1 if averaged else 1)


def _new_sums(judges: Sequence[Judge], new: Tensor, counts: list[int], ranks: Ranks) -> Float[Tensor, " B"]:
    """Return Σ_i (S_ik + S_ki) over newly chosen i, of this rank's k that are not chosen."""
    starts = [sum(counts[:rank]) for rank in range(len(counts))]
    of_rank = [new[(new >= start) & (new < start + n)] for start, n in zip(starts, counts, strict=True)]
    here, held = of_rank[ranks.rank] - starts[ranks.rank], [len(part) for part in of_rank]
    sides = [{f"x{n}": judge.x, f"y{n}": judge.y} for n, judge in enumerate(judges)]
    rows = {name: z for side in sides for name, z in side.items()}

    def terms(tile: Tile) -> dict[str, dict[str, Sum]]:
        sums = {}
        for n in range(len(judges)):
            for one, other in ((f"x{n}", f"y{n}"), (f"y{n}", f"x{n}")):
                # All are negatives: a candidate is none of the chosen.
                sums[one] = Sum(softplus(tile.dot(one, other) + getattr(tile, f"bias{n}")))
        return {"row": sums}

    sums = reduce(
        terms,
        rows=rows,
        columns={name: ranks.gather(z[here], held) for name, z in rows.items()},
        shared={f"bias{n}": judge.bias for n, judge in enumerate(judges)},
        same_columns=True,
    ).row
    return _weighted(
        (judge.weight, getattr(sums, f"x{n}") + getattr(sums, f"y{n}")) for n, judge in enumerate(judges)
    )


def _weighted(parts: Iterable[tuple[float, Tensor]]) -> Tensor:
    return torch.stack([weight * part for weight, part in parts]).sum(0)
