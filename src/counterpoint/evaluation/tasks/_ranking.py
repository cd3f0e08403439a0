"""The ranks of the correct answers among all answers, with ties broken fairly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...types import Embedder
from ..task import row_chunks, similarity


@dataclass(frozen=True)
class Ranking:
    """For each query, how its best correct answer stands.

    Attributes:
        above: wrong answers that score higher.
        tied: wrong answers that score the same.
        correct: correct answers that share the best correct score.
        right: correct answers in all.
        answers: answers in all.
        top: the position of the highest-scoring answer (the first of several).
    """

    above: Int[np.ndarray, " n"]
    tied: Int[np.ndarray, " n"]
    correct: Int[np.ndarray, " n"]
    right: Int[np.ndarray, " n"]
    answers: int
    top: Int[np.ndarray, " n"]

    def rank(self) -> Float[np.ndarray, " n"]:
        """Return the expected rank of the first correct answer: ``1 + above + tied / (correct + 1)``."""
        return 1 + self.above + self.tied / (self.correct + 1)

    def hit(self, k: int) -> Float[np.ndarray, " n"]:
        """Return the probability that a correct answer is among the first k: 0 or 1 where nothing ties."""
        return _hit(k, self.above, self.tied, self.correct)

    def chance_hit(self, k: int) -> Float[np.ndarray, " n"]:
        """Return `hit` where every answer ties."""
        return _hit(k, np.zeros_like(self.right), self.answers - self.right, self.right)

    def chance_rank(self) -> Float[np.ndarray, " n"]:
        """Return `rank` where every answer ties."""
        return 1 + (self.answers - self.right) / (self.right + 1)


def rank(
    model: Embedder,
    queries: Float[Tensor, "n d"],
    gallery: Float[Tensor, "m e"],
    correct: Sequence[Sequence[int]],
    rerank: Callable[[slice, Tensor], Tensor] | None = None,
) -> Ranking:
    """Rank the gallery for every query, exactly, a panel of queries at a time.

    Args:
        model: whose similarity ranks; cosines may be negative.
        queries, gallery: embeddings.
        correct: for each query, the positions in the gallery that answer it; at least one.
        rerank: from a part of the queries and their similarities to scores in place of these; see `reranked`.
    """
    above, tied, equal, top = [], [], [], []
    for part in row_chunks(len(queries), len(gallery)):
        scores = similarity(model, queries[part], gallery)
        scores = scores if rerank is None else rerank(part, scores)
        lists = correct[part]
        row = torch.repeat_interleave(torch.arange(len(lists)), torch.tensor([len(c) for c in lists]))
        is_correct = torch.zeros(scores.shape, dtype=torch.bool)
        is_correct[row, torch.tensor([position for positions in lists for position in positions])] = True
        best = scores.masked_fill(~is_correct, -torch.inf).amax(1, keepdim=True)
        above.append(((scores > best) & ~is_correct).sum(1))
        same = scores == best
        tied.append((same & ~is_correct).sum(1))
        equal.append((same & is_correct).sum(1))
        top.append(scores.argmax(1))
    a, t, e, first = (torch.cat(parts).numpy() for parts in (above, tied, equal, top))
    return Ranking(a, t, e, np.array([len(set(c)) for c in correct]), len(gallery), first)


def reranked(
    similarities: Float[Tensor, "n m"], best: Int[Tensor, "n k"], scores: Float[Tensor, "n k"]
) -> Float[Tensor, "n m"]:
    """Return scores by which the best answers come first, in the order of their own scores, and the others behind.

    The others keep the order of their similarities.

    >>> similarities = torch.tensor([[0.9, 0.8, 0.1, 0.3]])
    >>> order = reranked(similarities, torch.tensor([[0, 1]]), torch.tensor([[-20.0, -10.0]]))
    >>> order.argsort(descending=True).tolist()
    [[1, 0, 3, 2]]
    """
    # In float64, as differences of similarities are small beside some scores.
    similarities, scores = similarities.double(), scores.double()
    behind = similarities - similarities.amax(1, keepdim=True) - 1 + scores.amin(1, keepdim=True)
    return behind.scatter(1, best, scores)


def best_answers(covers: Sequence[Sequence[int]], weights: Float[np.ndarray, " queries"], k: int) -> float:
    """Return what the best k answers score that are the same for every query: the weight of the queries they answer.

    Each answer in turn is the one that adds most, which is the best choice where no query has two right answers.

    Args:
        covers: for each answer, the queries that it is right for.
        weights: of the queries; they add up to 1.
        k: how many answers are given.

    >>> best_answers([[0, 1, 2], [3], [4]], np.full(5, 0.2), 2)
    0.8
    """
    answer = np.repeat(np.arange(len(covers)), [len(queries) for queries in covers])
    query = np.array([q for queries in covers for q in queries], dtype=np.int64)
    left, score = weights.copy(), 0.0
    for _ in range(min(k, len(covers))):
        gains = np.bincount(answer, weights=left[query], minlength=len(covers))
        best = int(gains.argmax())
        score += float(gains[best])
        left[list(covers[best])] = 0.0
    return round(score, 12)


def _hit(k: int, above: np.ndarray, tied: np.ndarray, correct: np.ndarray) -> Float[np.ndarray, " n"]:
    """Return one minus the hypergeometric probability that the places after ``above`` all go to wrong answers."""
    places = np.clip(k - above, 0, tied + correct)
    missed = np.ones(len(above))
    for j in range(int(correct.max(initial=0))):
        left = np.clip(tied + correct - places - j, 0, None)
        missed *= np.where(j < correct, left / np.maximum(tied + correct - j, 1), 1.0)
    return np.round(1 - missed, 12)
