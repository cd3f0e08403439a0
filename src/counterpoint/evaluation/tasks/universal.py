"""Finding the reply to a request about a picture by one embedding of both."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from jaxtyping import Int

from ...data.base import Data, Rows
from ...data.columns import parts_of
from ...data.embeddings import EmbeddingCache, uncached
from ...data.views import key
from ...forms import Count
from ...raw import Exchange
from ...types import Embedder, JointEmbedder, Metric, Scores
from ..statistic import mean
from ..task import EmbedderTask, NotApplicableError, check_columns, check_rows, scatter, scores, similarity

QUERIES = "image+talk"
"""The joint column of queries: a picture and a request."""
_AT_ONCE = 256


@final
class Universal(EmbedderTask):
    """Precision@1 of embeddings that follow instructions: which reply belongs to a picture and a request?

    Each exchange of a test row is a query: the row's picture with the request. The candidates are the distinct replies
    of the test set, the right one and at most ``candidates − 1`` others, a fixed draw. A row scores the mean over its
    exchanges; replies that tie share the first place. Each request is given as the model was trained with it. Chance is
    one in the number of candidates, and the best constant answer is the commonest reply.

    Args:
        candidates: the most candidates of a query.

    Raises:
        NotApplicableError: for a model that does not embed pictures with requests, where no row has a picture and a
            conversation, and where all replies are the same.
        ValueError: for no rows.

    Source: Jiang et al., "VLM2Vec" (2024), arXiv 2410.05160, whose benchmark MMEB scores so among 1,000 candidates.
    """

    family = "retrieval"
    name = "universal"
    primary = "P@1"
    papers = ("vlm2vec",)
    modalities = ("image",)
    reads = ("image", "talk")

    def __init__(self, candidates: Count = 1000) -> None:
        self.candidates = candidates

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        check_columns(self, data)
        self.check_model(model, data)
        features = EmbeddingCache.of(model, data)
        used = np.flatnonzero(data.present("image", rows) & data.present("talk", rows))
        talks = data.read("talk", rows[used])
        asked = [(row, exchange) for row, talk in enumerate(talks) for exchange in talk]
        replies = sorted({exchange.reply for _, exchange in asked})
        if len(replies) < 2:
            raise NotApplicableError(
                f"{self.name} asks which reply belongs to a picture and a request, and the test rows of "
                f"{data.name!r} have {'one reply alone' if replies else 'no conversations'}"
            )
        order = np.argsort(key(0, 0, np.arange(len(replies)), self.name), kind="stable")
        replies = [replies[number] for number in order]
        number = {reply: position for position, reply in enumerate(replies)}
        count = min(self.candidates, len(replies))
        gallery = features.raw("talk", [(Exchange("", reply),) for reply in replies])
        hits, right = np.zeros(len(asked)), np.array([number[exchange.reply] for _, exchange in asked])
        for start in range(0, len(asked), _AT_ONCE):
            part = asked[start : start + _AT_ONCE]
            pictures = data.read("image", rows[used[[row for row, _ in part]]])
            requests = [(exchange._replace(reply=""),) for _, exchange in part]
            inputs = dict(zip(parts_of(QUERIES), (pictures, requests), strict=True))
            of_all = similarity(features, features.embed(QUERIES, inputs), gallery)
            own = torch.from_numpy(right[start : start + _AT_ONCE])[:, None]
            best, others = of_all.gather(1, own), of_all.scatter(1, own, -torch.inf)
            # The first others of the order, of which a query's own reply may be one.
            taken = torch.where(own < count, count, count - 1)
            others = others.masked_fill(torch.arange(len(replies)) >= taken, -torch.inf)
            tied = 1 + (others == best).sum(1, keepdim=True)
            hits[start : start + len(part)] = ((others <= best).all(1, keepdim=True) / tied)[:, 0].numpy()
        of_row = np.array([row for row, _ in asked])
        sizes = np.bincount(of_row, minlength=len(used))
        per_row = np.bincount(of_row, hits, minlength=len(used)) / np.maximum(sizes, 1)
        per_row[sizes == 0] = np.nan

        def commonest(some: Int[np.ndarray, " some"]) -> float:
            drawn = np.bincount(some, minlength=len(rows))[used]
            weights = drawn[of_row] / sizes[of_row]
            return float(np.bincount(right, weights).max() / drawn[sizes > 0].sum())

        outcomes = {"P@1": scatter(per_row, used, len(rows))}
        metric = Metric("P@1", mean, chance=1 / count, constant=commonest)
        return scores(self.name, data, rows, outcomes, {"P@1": metric})

    def check_model(self, model: Any, data: Any) -> None:
        if not self.can_ask(model):
            raise NotApplicableError(
                f"{self.name} asks models that embed pictures with requests, as vlm2vec,columns=image+talk trains "
                "them: leave the task out"
            )

    def can_ask(self, model: Any) -> bool:
        model = uncached(model)
        return isinstance(model, JointEmbedder) and QUERIES in model.joint_columns
