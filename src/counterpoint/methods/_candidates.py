"""A store of hard negatives: for every query a list of candidates, of which a few count, each with its first score."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..pairwise.ranks import Ranks

CHUNK = 4096
"""Queries that are compared with all documents at once."""


class MinedCandidates(NamedTuple):
    """Candidates of some queries, the most similar one first.

    Attributes:
        documents: their numbers, −1 where a query has no more.
        scores: of each, −inf where there is none.
    """

    documents: Int[Tensor, "n C"]
    scores: Float[Tensor, "n C"]


@torch.no_grad()
def mine(
    queries: Float[Tensor, "n d"],
    documents: Float[Tensor, "m d"],
    positives: Int[Tensor, " n"],
    count: int,
    *,
    skip: int = 0,
    most: float = 1.0,
    draws: torch.Generator | None = None,
) -> MinedCandidates:
    """Find for each query the documents that it is most similar to, or some at random, its own left out.

    Args:
        queries: unit norm.
        documents: unit norm, each once.
        positives: the number of each query's own document.
        count: how many to find, C.
        skip: the first ranks, own document not counted, that are left out: near duplicates are among them.
        most: documents that are more similar to the query than this part of its own one's similarity are left out, as
            likely right themselves.
        draws: of documents at random, in the order that they were drawn in, in place of the most similar ones; of these
            nothing is skipped.

    >>> z = torch.eye(3)
    >>> mine(z[:1] * 0.6 + z[1:2] * 0.8, z, torch.tensor([1]), 2).documents.tolist()
    [[0, 2]]
    """
    chunks: list[MinedCandidates] = []
    for start in range(0, len(queries), CHUNK):
        answers, part = positives[start : start + CHUNK, None], queries[start : start + CHUNK]
        scores = part @ documents.T
        positive = scores.gather(1, answers)
        scores.scatter_(1, answers, -torch.inf)
        if most < 1:
            scores.masked_fill_(scores > most * positive, -torch.inf)
        ranked = scores
        if draws is not None:
            drawn = torch.rand(scores.shape, generator=draws).to(scores)
            ranked, skip = drawn.masked_fill(scores.isinf(), -torch.inf), 0
        best = ranked.topk(min(count + skip, scores.shape[1]), dim=1).indices[:, skip:]
        lacking = (0, count - best.shape[1])
        values = F.pad(scores.gather(1, best), lacking, value=-torch.inf)
        chunks.append(
            MinedCandidates(torch.where(values.isinf(), -1, F.pad(best, lacking, value=-1)), values)
        )
    return MinedCandidates(*(torch.cat(each) for each in zip(*chunks, strict=True)))


def easy(
    now: Float[Tensor, "*n"], first: Float[Tensor, "*n"], factor: float = 1.15, limit: float = 0.8
) -> Bool[Tensor, "*n"]:
    """Return which negatives have become easy, by their scores now and when they were taken.

    ``factor · now < first`` **and** ``|now| < limit``. The rule says nothing sensible of scores that were not above 0
    to begin with (it would keep what has grown worse): these are easy.

    >>> easy(torch.tensor([0.5, 0.65, 0.85, -0.1]), torch.tensor([0.7, 0.7, 1.0, -0.2])).tolist()
    [True, False, False, True]
    """
    return (first <= 0) | ((factor * now < first) & (now.abs() < limit))


class Candidates(nn.Module):
    """Candidates of queries, found by the queries' ids, and saved with the model.

    Args:
        taken: how many of its candidates count for a query at a time, M.

    Attributes:
        ids: of the queries, in rising order.
        own: the number of each query's own document.
        documents: what a tower takes of each document, ``(m, …)``.
        listed: numbers of each query's candidates, ``(N, C)``, the hardest first, −1 where there are no more.
        offsets: where in the list those are that count, ``(N, M)``.
        first: their scores when they were taken.
        next: the place in the list from which on none was taken yet.
    """

    ids: Tensor
    own: Tensor
    documents: Tensor
    listed: Tensor
    offsets: Tensor
    first: Tensor
    next: Tensor

    def __init__(self, taken: int) -> None:
        super().__init__()
        self.taken = taken
        # Nothing is known of anybody; what is mined has other sizes, as what is loaded may have.
        for name in ("ids", "own", "documents", "listed", "offsets", "first", "next"):
            self.register_buffer(
                name, torch.zeros(0, dtype=torch.float32 if name == "first" else torch.int64)
            )

    def fill(self, ids: Tensor, own: Tensor, documents: Tensor, mined: MinedCandidates) -> None:
        """Begin anew with what was mined; the first candidates of each list count."""
        order, length = ids.argsort(), mined.documents.shape[1]
        places = torch.arange(self.taken)
        # A list that is shorter than what counts has no candidate at its further places.
        first = mined.scores[:, places.clamp_max(length - 1)].masked_fill(places >= length, -torch.inf)
        state = {
            "ids": ids[order],
            "own": own[order],
            "documents": documents,
            "listed": mined.documents[order],
            "offsets": places.repeat(len(ids), 1),
            "first": first[order].float(),
            "next": torch.full((len(ids),), self.taken),
        }
        for name, tensor in state.items():
            setattr(self, name, tensor.to(self.ids.device))

    @property
    def filled(self) -> bool:
        """True once something was mined; the same on every rank."""
        return len(self.ids) > 0

    def find(self, ids: Int[Tensor, " B"]) -> tuple[Int[Tensor, " B"], Bool[Tensor, " B"]]:
        """Return the slots of some queries, and which of them there are; of those that there are not, some slot."""
        slot = torch.searchsorted(self.ids, ids.contiguous()).clamp_max(len(self.ids) - 1)
        return slot, self.ids[slot] == ids

    def at(self, slots: Int[Tensor, " B"], offsets: Int[Tensor, "B M"]) -> Int[Tensor, "B M"]:
        """Return the documents at some places of the lists; −1 behind their ends."""
        length = self.listed.shape[1]
        documents = self.listed[slots].gather(1, offsets.clamp_max(length - 1))
        return torch.where(offsets < length, documents, -1)

    @torch.no_grad()
    def store(self, ids: Tensor, offsets: Tensor, first: Tensor, following: Tensor) -> None:
        """Keep what counts now for some queries of this rank; all ranks keep what each of them gives."""
        ranks = Ranks.present()
        counts = ranks.counts(len(ids), ids.device)
        ids, offsets, first, following = (ranks.gather(it, counts) for it in (ids, offsets, first, following))
        slot, known = self.find(ids)
        slot = slot[known]
        self.offsets[slot], self.first[slot], self.next[slot] = offsets[known], first[known], following[known]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name, buffer in list(self.named_buffers(recurse=False)):
            if prefix + name in state_dict:
                saved = state_dict[prefix + name]
                setattr(self, name, buffer.new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
