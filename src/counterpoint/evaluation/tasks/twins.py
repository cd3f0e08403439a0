"""Telling an example from its twin, which differs from it in one thing."""

from __future__ import annotations

from typing import final

import numpy as np

from ...data.base import Data, Rows
from ...data.columns import ANY, TEXT, ways
from ...data.embeddings import EmbeddingCache
from ...data.items import TwinItems
from ...types import Embedder, Metric, Scores
from ..item_scores import item_scores, items_of
from ..statistic import mean
from ..task import EmbedderTask, NotApplicableError, scatter
from ._choice_of_two import nearer


@final
class Twins(EmbedderTask):
    """The share of examples that are nearer to what belongs to them in another column than to what its twin has there.

    A sound chooses between its clip and the same clip in which two events have changed places, say: ``a2v_accuracy``.
    There is one such number for each way between two columns that data and model share. What is equally near, up to
    rounding, counts half, as what a model cannot tell apart is the same by chance; so chance is 1/2.

    Raises:
        NotApplicableError: if the data has no twins, or data and model do not share two columns.
    """

    family = "retrieval"
    name = "twins"
    modalities = (ANY, ANY)
    reads = (ANY, ANY)
    form = TwinItems

    def main_metrics(self, data: Data) -> tuple[str, ...]:
        return tuple(f"{way}_accuracy" for way in ways(data.columns))

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        features = EmbeddingCache.of(model, data)
        items = items_of(features, TwinItems, rows, self.name)
        outcomes = {}
        for name, (query, answer) in ways(data.columns).items():
            there = data.present(query, items.rows) & data.present(answer, items.rows)
            if not {query, answer} <= features.shared.keys() or not there.any():
                continue
            kept = np.flatnonzero(there)
            twins = items.read(answer, kept)
            of_text = data.columns[answer] == TEXT
            outcomes[f"{name}_accuracy"] = scatter(
                nearer(
                    features,
                    features.column(query, items.rows[kept]),
                    features.column(answer, items.rows[kept]),
                    features.texts(twins, column=answer) if of_text else features.raw(answer, twins),
                ),
                kept,
                len(items),
            )
        if not outcomes:
            raise NotApplicableError(
                f"{self.name} asks about two columns that the model embeds ({', '.join(features.embeds)}), and "
                f"{data.name!r} has the columns {', '.join(data.columns)}, or no row with both: leave the task out"
            )
        metrics = {name: Metric(name, mean, chance=0.5) for name in outcomes}
        return item_scores(self.name, items, outcomes, metrics)
