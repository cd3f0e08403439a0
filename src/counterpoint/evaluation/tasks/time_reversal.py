"""Telling a clip, a sound or a series from the same one backwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.base import Data, Rows
from ...data.columns import ANY, ways
from ...data.embeddings import BATCH, EmbeddingCache
from ...modalities import MODALITIES
from ...types import Embedder, Metric, Scores
from ..statistic import mean
from ..task import EmbedderTask, NotApplicableError, check_rows, scatter, scores
from ._choice_of_two import nearer


@final
class TimeReversal(EmbedderTask):
    """The share of examples that are nearer to what belongs to them in another column than to the same backwards.

    A sound chooses between its clip and that clip from its last frame to its first: ``a2v_accuracy``. There is one such
    number for each way to a column whose examples have lengths (clips, sounds, series). What is equally near, up to
    rounding, counts half: a model that is blind to order has exactly 1/2, which is chance.

    Raises:
        NotApplicableError: if data and model do not share two columns, one of which has lengths.
        ValueError: if there are no rows.
    """

    family = "retrieval"
    name = "time_reversal"
    modalities = (ANY, ANY)
    reads = (ANY, ANY)

    def main_metrics(self, data: Data) -> tuple[str, ...]:
        return tuple(f"{way}_accuracy" for way in _ways(data.columns))

    def check_columns(self, data: Data) -> None:
        if not _ways(data.columns):
            raise NotApplicableError(
                f"{self.name} turns clips, sounds or series round, and {data.name!r} has the columns "
                f"{', '.join(data.columns)}: leave the task out"
            )

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        features = EmbeddingCache.of(model, data)
        outcomes = {}
        for name, (query, answer) in _ways(data.columns).items():
            kept = np.flatnonzero(data.present(query, rows) & data.present(answer, rows))
            if not {query, answer} <= features.shared.keys() or not len(kept):
                continue
            z, own = (features.column(column, rows[kept]) for column in (query, answer))
            hits = nearer(features, z, own, _backwards(features, answer, rows[kept]))
            outcomes[f"{name}_accuracy"] = scatter(hits, kept, len(rows))
        if not outcomes:
            raise NotApplicableError(
                f"{self.name} asks about two columns that the model embeds ({', '.join(features.embeds)}), one of "
                f"clips, sounds or series, and {data.name!r} has the columns {', '.join(data.columns)}, or no row "
                "with both: leave the task out"
            )
        metrics = {name: Metric(name, mean, chance=0.5) for name in outcomes}
        return scores(self.name, data, rows, outcomes, metrics)


def _ways(columns: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the ways to columns whose examples have lengths."""
    return {name: pair for name, pair in ways(columns).items() if MODALITIES.get(columns[pair[1]]).unit}


def _backwards(features: EmbeddingCache, column: str, rows: Rows) -> Float[Tensor, "n d"]:
    """Return embeddings of some rows, each turned round up to its end."""
    parts = []
    for part in np.split(rows, range(BATCH, len(rows), BATCH)):
        raw = features.data.read(column, part)
        turned = raw.changed(torch.zeros(len(part), dtype=torch.long), lambda values, _: values.flip(0))
        parts.append(features.raw(column, turned))
    return torch.cat(parts)
