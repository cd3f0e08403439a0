"""MoCHi: hard negatives made of the hardest keys of the queue."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Count, Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction, Top, TopK
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile
from ._bank import against, chosen, no_other, others


class MoCHiLoss(PairwiseLoss):
    """MoCo with synthetic negatives, mixed for each query from the N keys of the queue most similar to it.

        h_m  = nz(α_m n_i + (1 − α_m) n_j)            of two of the N keys, α in (0, 1)
        h'_m = nz(β_m q̄ + (1 − β_m) n_j)              of the query and one of them, β in (0, ½)

        loss = −mean log [ exp(<q, k>/τ) / ( exp(<q, k>/τ) + Σ_n exp(<q, n>/τ) + Σ_m exp(<q, h_m>/τ)
                                                            + Σ_m exp(<q, h'_m>/τ) ) ],   nz(u) = u / ‖u‖

    The synthetic points are constants, q̄ being the query without gradient, and are added to the queue's keys,
    which all stay. They are never formed: <q, h> follows from the similarities of q, n_i and n_j. h' is at
    least as similar to the query as n_j; at β = 1 it would be the query itself, so that β stays below ½.

    Indices and coefficients are given by the caller, who owns the randomness; `draw` draws them. Without them
    this is MoCo, as it should be while the queue still holds random vectors.

    Args:
        temperature: τ; a number is fixed.
        hardest: N; all of a smaller queue.

    Raises:
        ValueError: for N below 1, indices without coefficients, and what MoCo refuses.

    Source: Kalantidis et al., "Hard Negative Mixing for Contrastive Learning" (2020), arXiv 2010.01028.

    >>> x = torch.eye(4)
    >>> given = {"partners": torch.tensor([[0]]), "query_shares": torch.tensor([[0.5]])}
    >>> loss = MoCHiLoss(temperature=1.0, hardest=1)      # h' halfway from a key to q: log(1 + (1 + e^0.7071) / e)
    >>> round(loss(x[:1], x[:1], x[1:2], **given).item(), 4)
    0.7486
    """

    family = "queue"
    stop_gradient = True
    papers = ("mochi",)

    def __init__(self, temperature: Positive | Temperature = 0.2, *, hardest: Count = 1024) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.2))
        self.hardest = hardest

    def forward(
        self,
        q: Float[Tensor, "B d"],
        k: Float[Tensor, "B d"],
        queue: Float[Tensor, "K d"],
        ids: Int[Tensor, " B"] | None = None,
        queue_ids: Int[Tensor, " K"] | None = None,
        *,
        pairs: Int[Tensor, "B s 2"] | None = None,
        shares: Float[Tensor, "B s"] | None = None,
        partners: Int[Tensor, "B t"] | None = None,
        query_shares: Float[Tensor, "B t"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm queries, their keys, and a queue of unit vectors, the same on every rank.

        Args:
            q, k: the queries and their keys.
            queue: the keys of earlier steps.
            ids, queue_ids: the items; keys of the query's own are neither negatives nor mixed.
            pairs: i and j of each mixture of two keys, counted from the hardest, below min(N, K).
            shares: α.
            partners: j of each mixture with the query.
            query_shares: β.
        """
        if (pairs is None) != (shares is None) or (partners is None) != (query_shares is None):
            raise ValueError("pairs go with shares, and partners with query_shares: give both, or neither")
        mixes = pairs is not None or partners is not None
        q, k = paired(q=q, k=k)
        scaled = self.temperature.scale(q)
        positive = dot(scaled, k.detach())
        rows, columns = against(scaled, queue, ids, queue_ids)

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits = tile.dot()
            negatives = others(tile, logits)
            row: dict[str, Reduction] = {"queue": LogSumExp(negatives)}
            if mixes:
                row["hardest"] = TopK(negatives.detach(), min(self.hardest, len(queue)), logits.detach())
            return {"row": row}

        r = self.reduce(terms, rows=rows, columns=columns, same_columns=True)
        if not mixes:
            return self.mean(torch.logaddexp(positive, r.row.queue) - positive)
        top: Top = r.row.hardest
        known = chosen(scaled, columns["z"], top.indices, top.values)
        missing = no_other(top, rows, columns)
        candidates = [positive[:, None], r.row.queue[:, None]]
        if pairs is not None and shares is not None:
            i, j = pairs.unbind(-1)
            cosine = _cosine(columns["z"], top.indices.gather(1, i), top.indices.gather(1, j))
            mixed = _mix(shares, known.gather(1, i), known.gather(1, j), cosine)
            candidates.append(mixed.masked_fill(missing.gather(1, i) | missing.gather(1, j), NEG))
        if partners is not None and query_shares is not None:
            with_query = dot(scaled, q.detach())[:, None]
            logits = known.gather(1, partners)
            cosine = logits.detach() / self.temperature.inverse(q.dtype).detach()
            mixed = _mix(query_shares, with_query, logits, cosine)
            candidates.append(mixed.masked_fill(missing.gather(1, partners), NEG))
        return self.mean(torch.cat(candidates, 1).logsumexp(1) - positive)


def _mix(share: Tensor, left: Tensor, right: Tensor, cosine: Tensor) -> Tensor:
    """Return the logit of nz(a u + (1 − a) v), from those of the unit vectors u and v and their cosine."""
    share = share.detach().to(left.dtype)
    squared = share.square() + (1 - share).square() + 2 * share * (1 - share) * cosine
    # Opposite keys in equal shares leave nothing that could be normalised.
    return (share * left + (1 - share) * right) / squared.clamp_min(1e-12).sqrt()


def _cosine(keys: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Compute cosines of the keys at ``left`` and ``right`` (B, s), one of the s at a time: B × s × d never exists."""
    return torch.stack([(keys[i] * keys[j]).sum(-1) for i, j in zip(left.T, right.T, strict=True)], 1)


def draw(
    q: Float[Tensor, "B d"],
    hardest: int,
    pairs: int,
    with_query: int,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Draw uniformly what `MoCHiLoss` mixes: two different keys of the N and α in (0, 1), one key and β in (0, ½).

    Args:
        q: the queries.
        hardest: N, at most the size of the queue.
        pairs: s, mixtures of two keys for each query.
        with_query: s', mixtures with the query.
        generator: torch's own unless given.

    >>> drawn = draw(torch.eye(4), hardest=8, pairs=3, with_query=2)
    >>> {name: tuple(value.shape) for name, value in drawn.items()}
    {'pairs': (4, 3, 2), 'shares': (4, 3), 'partners': (4, 2), 'query_shares': (4, 2)}
    """

    def keys(count: int, among: int) -> Tensor:
        return torch.randint(among, (len(q), count), generator=generator, device=q.device)

    def uniform(count: int) -> Tensor:
        return torch.rand(len(q), count, generator=generator, dtype=q.dtype, device=q.device)

    drawn: dict[str, Tensor] = {}
    if pairs:
        i = keys(pairs, hardest)
        j = (i + 1 + keys(pairs, max(hardest - 1, 1))) % hardest
        drawn |= {"pairs": torch.stack([i, j], -1), "shares": uniform(pairs)}
    if with_query:
        drawn |= {"partners": keys(with_query, hardest), "query_shares": uniform(with_query) / 2}
    return drawn
