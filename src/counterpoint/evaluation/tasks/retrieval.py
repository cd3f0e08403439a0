"""Finding what belongs to an example in another column: the caption of a picture, the picture of a caption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.base import Data, Rows
from ...data.columns import ANY, TEXT, way, ways
from ...data.embeddings import EmbeddingCache
from ...forms import Natural
from ...types import Embedder, Metric, PairStates, Scores
from ..statistic import mean, median
from ..task import EmbedderTask, NotApplicableError, captions_of, check_rows, scatter, scores
from ._ranking import best_answers, rank, reranked

KS = (1, 5, 10)


class Retrieval(EmbedderTask):
    """Retrieval between all columns of the test set that the model embeds, each pair there and back.

    Image to text (``i2t``): a picture ranks the distinct captions of the test set; its own are correct. Text
    to image (``t2i``): a caption ranks the pictures; every picture that has this very caption is correct. So
    two rows with the same caption are correct for each other, and the best-ranked correct answer counts. A
    row with several captions scores their mean. Answers of equal similarity are taken in random order, and an
    outcome is its expectation over that order: a model that maps everything to one point scores chance. The
    ranks are exact; no N × N matrix is formed.

    So it is with any two columns: equal texts are one, and of what is no text each row's example is its own. A column
    is called by the letter of its modality (``a2t``, ``s2t``), the second column of one modality by its name, and what
    it is paired with too (``question2answer``). A row that lacks one of the two has no outcome.

    Metrics for each way: ``R@1``, ``R@5``, ``R@10`` (the fraction of queries with a correct answer
    among the first K) and ``median_rank`` (1 is best). Chance is a random order of the answers. The best constant
    answer to R@K are the K captions, or pictures, that are right for most queries: where many pictures have one
    caption it scores far above chance. Outcomes besides: ``i2t_top`` and ``t2i_top``, the id of the example whose
    caption or picture came first. Heads after the first are scored too: ``i2t_R@1[local]``. The main metric is the
    first way's ``R@1``, here of pictures; those of further pairs of columns follow.

    A joint column of the model (`counterpoint.types.JointEmbedder`) is paired with each column that is no part of it.
    It is called by the letters of its columns: ``t2va_R@1``.

    A model that scores pairs jointly (`counterpoint.types.PairScorer`) ranks the best answers by embedding once more by
    each joint score: ``i2t_R@1[joint]``. The others keep their places behind them.

    Args:
        rerank: how many answers of a query are scored jointly; none with 0.

    Raises:
        NotApplicableError: if data and model do not have two columns both.
        ValueError: for fewer than two rows, among which there is nothing to find, or a row without caption.
    """

    family = "retrieval"
    name = "retrieval"
    modalities = (ANY, ANY)
    reads = (ANY, ANY)
    least = 2

    def __init__(self, rerank: Natural = 32) -> None:
        self.rerank = rerank

    def main_metrics(self, data: Data) -> tuple[str, ...]:
        return tuple(f"{way}_R@1" for way in tuple(ways(data.columns))[::2])

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name, self.least)
        features = EmbeddingCache.of(model, data)
        directions = self._directions(features, rows)
        outcomes: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}
        joint = {
            name: _joint_order(features, it, self.rerank)
            for name, it in (directions.items() if self.rerank and features.pair_heads else ())
        }
        heads = [*features.heads, *(features.pair_heads if joint else ())]
        for number, head in enumerate(heads):
            suffix = "" if number == 0 else f"[{head}]"
            tops: dict[str, np.ndarray] = {}
            for name, it in directions.items():
                queries, answers = it.queries, it.answers
                by = features.heads[0] if number >= len(features.heads) else head
                ranking = rank(
                    features,
                    queries.embedded(by),
                    answers.embedded(by),
                    it.correct,
                    partial(joint[name], head) if by != head else None,
                )
                for k in KS:
                    metric = f"{name}_R@{k}{suffix}"
                    outcomes[metric] = it.spread(queries.by_row(ranking.hit(k)))
                    metrics[metric] = Metric(
                        metric,
                        mean,
                        chance=mean(queries.by_row(ranking.chance_hit(k))),
                        constant=partial(it.constant, k),
                    )
                outcomes[f"{name}_rank{suffix}"] = it.spread(queries.by_row(ranking.rank()))
                metrics[f"{name}_median_rank{suffix}"] = Metric(
                    f"{name}_rank{suffix}",
                    median,
                    higher_is_better=False,
                    chance=median(queries.by_row(ranking.chance_rank())),
                    bounds=(1.0, float(len(answers.rows))),
                )
                first = ranking.top[[mine[0] for mine in queries.of_row]]
                owners = [answers.rows[answer][0] for answer in first]
                tops[f"{name}_top"] = it.spread(data.ids[rows[it.indices]][owners])
            if number == 0:
                outcomes |= tops
        return scores(self.name, data, rows, outcomes, metrics)

    def _directions(self, features: EmbeddingCache, rows: Rows) -> dict[str, _Way]:
        """Return the ways between columns that the model embeds, where some rows have both."""
        data, sides = features.data, {}
        shared = {
            name: pair for name, pair in ways(data.columns).items() if {*pair} <= features.shared.keys()
        }
        for joint, parts in features.joint.items():
            for column in (column for column in features.shared if column not in parts):
                for pair in ((joint, column), (column, joint)):
                    shared[way(data.columns, *pair)] = pair
        there = {column: features.present(column, rows) for pair in shared.values() for column in pair}
        for name, (query, answer) in shared.items():
            kept = np.flatnonzero(there[query] & there[answer])
            if len(kept) >= self.least:
                queries, answers = (_side(features, rows[kept], column) for column in (query, answer))
                sides[name] = _Way(queries, answers, kept, len(rows))
        if not sides:
            raise NotApplicableError(
                f"{self.name} asks about two columns that the model embeds ({', '.join(features.embeds)}), and "
                f"{data.name!r} has the columns {', '.join(data.columns)}, or no two rows with both: leave the task out"
            )
        return sides


@dataclass(frozen=True)
class _Side:
    """A column of some rows, as things to find: its distinct texts, or else an example of every row.

    Attributes:
        of_row: for each row, the positions of its things.
        embedded: by head.
        states: what joint scores need of them.
    """

    of_row: Sequence[Sequence[int]]
    embedded: Callable[[str], Float[Tensor, "things d"]]
    states: Callable[[], PairStates]

    @cached_property
    def rows(self) -> list[list[int]]:
        """For each thing, the rows that have it."""
        rows: list[list[int]] = [[] for _ in range(1 + max(thing for mine in self.of_row for thing in mine))]
        for row, mine in enumerate(self.of_row):
            for thing in mine:
                rows[thing].append(row)
        return rows

    def by_row(self, values: Float[np.ndarray, " things"]) -> Float[np.ndarray, " rows"]:
        """Return what every row scores, from what things do: their mean."""
        if max(map(len, self.of_row)) == 1:
            return values[[mine[0] for mine in self.of_row]]
        return np.array([values[list(mine)].mean() for mine in self.of_row])


def _side(features: EmbeddingCache, rows: Rows, column: str) -> _Side:
    if features.data.columns.get(column) != TEXT:
        return _Side(
            [[row] for row in range(len(rows))],
            lambda head: features.column(column, rows, head),
            lambda: features.pair_states(column, features.data.read(column, rows)),
        )
    captions = captions_of(features.data, rows, column)
    position: dict[str, int] = {}
    of_row = [[position.setdefault(caption, len(position)) for caption in mine] for mine in captions]
    texts = list(position)
    return _Side(
        of_row,
        lambda head: features.texts(texts, head, column),
        lambda: features.pair_states(column, texts),
    )


def _joint_order(
    features: EmbeddingCache, way: _Way, count: int
) -> Callable[[str, slice, Tensor], Float[Tensor, "n m"]]:
    """Return a function that ranks the best answers of some queries by a joint score."""
    queries, answers = way.queries.states(), way.answers.states()
    known: dict[int, tuple[Tensor, Tensor]] = {}

    def order(head: str, part: slice, similarities: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
        if part.start not in known:  # all heads come from one pass
            best = similarities.topk(min(count, similarities.shape[1]), 1).indices
            query = torch.arange(part.start, part.start + len(best)).repeat_interleave(best.shape[1])
            pairs = torch.stack([query, best.flatten()], 1)
            known[part.start] = best, features.pair_scores(queries, answers, pairs).view(*best.shape, -1)
        best, scores = known[part.start]
        return reranked(similarities, best, scores[..., features.pair_heads.index(head)])

    return order


@dataclass(frozen=True)
class _Way:
    """One way from a column to another.

    Attributes:
        indices: the positions of the rows that have both, of ``n``.
    """

    queries: _Side
    answers: _Side
    indices: Int[np.ndarray, " k"]
    n: int

    @cached_property
    def correct(self) -> list[list[int]]:
        """For each query, the answers that are right."""
        return _right(self.queries, self.answers)

    @cached_property
    def covers(self) -> list[list[int]]:
        """For each answer, the queries that it is right for."""
        return _right(self.answers, self.queries)

    def spread(self, values: np.ndarray) -> Float[np.ndarray, " n"]:
        return scatter(values, self.indices, self.n)

    def constant(self, k: int, some: Int[np.ndarray, " some"]) -> float:
        """Return what the best k answers score that are the same for all queries of some of all n rows."""
        return best_answers(self.covers, self._weights(some), k)

    def _weights(self, some: Int[np.ndarray, " some"]) -> Float[np.ndarray, " queries"]:
        """Return what every query counts for in the mean over some rows of the mean over their queries."""
        weights = np.zeros(len(self.queries.rows))
        for row in np.searchsorted(self.indices, some):
            mine = self.queries.of_row[row]
            weights[list(mine)] += 1 / (len(mine) * len(some))
        return weights


def _right(queries: _Side, answers: _Side) -> list[list[int]]:
    """Return for each query the answers that some row has which has the query."""
    return [
        list(dict.fromkeys(answer for row in rows for answer in answers.of_row[row])) for rows in queries.rows
    ]
