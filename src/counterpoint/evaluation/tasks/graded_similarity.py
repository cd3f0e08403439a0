"""Ranking pairs by how alike their sides are, held against what the data says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ...data.base import Data, Rows
from ...data.columns import ANY
from ...data.embeddings import EmbeddingCache
from ...data.labels import Classes, Numbers, listed
from ...types import Embedder, Metric, Scores
from ..statistic import spearman
from ..task import EmbedderTask, NotApplicableError, check_rows, scatter, scores


class GradedSimilarity(EmbedderTask):
    """The order of pairs by a model's similarity, held against a label that says how alike the pairs are.

    A pair is a row of the first two columns that the model embeds and that all rows with the label have. A model that
    has one of the columns, or none, embeds others of a modality as its own column of that: SimCSE's, which learned from
    single sentences, and CLIP's, which learned from captions, rank pairs of texts.
    The label is one of numbers, or of classes in rising order, as those of whole numbers in a table are.

    Metrics: ``spearman``, the rank correlation of similarity and label over the pairs, 0 by chance; outcomes are
    ``similarity`` and ``grade``.

    Args:
        label: that says how alike a pair is.

    Raises:
        NotApplicableError: if the data lacks the label, or the model does not embed two columns of its rows.
        ValueError: if there are fewer than three rows.

    Source: the task of semantic textual similarity, as conan-embedding (Li et al. 2024) and simcse (Gao et al. 2021)
    are judged by it.
    """

    family = "retrieval"
    name = "graded_similarity"
    primary = "spearman"
    modalities = (ANY,)
    reads = (ANY, ANY)
    least = 3

    def __init__(self, label: str = "similarity") -> None:
        self.grade = label

    def check_columns(self, data: Data) -> None:
        grades = self._grades(data)
        if not any(np.isfinite(grades[rows]).any() for rows in data.splits.test.values()):
            raise NotApplicableError(
                f"{self.name} needs test examples with the label {self.grade}, and {data.name!r} has none: leave the "
                "task out"
            )

    def check_model(self, model: Embedder, data: Data) -> None:
        ways, grades = _ways(EmbeddingCache.of(model, data)), self._grades(data)
        labelled = [rows[np.isfinite(grades[rows])] for rows in data.splits.test.values()]
        if not any(len(rows) >= self.least and len(_pair(ways, data, rows)) == 2 for rows in labelled):
            raise NotApplicableError(
                f"{self.name} asks about rows with the label {self.grade} and two columns that the model embeds "
                f"({', '.join(ways) or 'none'}), and no test set of {data.name!r} has as many as {self.least}: leave "
                "the task out"
            )

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name, self.least)
        features = EmbeddingCache.of(model, data)
        grades = self._grades(data)[rows]
        labelled = np.flatnonzero(np.isfinite(grades))
        mine = rows[labelled]
        ways = _ways(features)
        pair = _pair(ways, data, mine)
        if len(mine) < self.least or len(pair) < 2:
            raise NotApplicableError(
                f"{self.name} asks about rows with two columns and the label {self.grade}, and these of {data.name!r} "
                f"have {', '.join(pair) or 'none'} in {len(mine)} labelled rows: leave the task out"
            )
        one, two = (features.raw(ways[column], data.read(column, mine)) for column in pair)
        # Pair by pair, as a model may compare otherwise than by the cosine.
        similarity = np.array(
            [float(features.similarity(a[None], b[None])) for a, b in zip(one, two, strict=True)]
        )
        outcomes = {
            "similarity": scatter(similarity, labelled, len(rows)),
            "grade": grades,
        }
        metrics = {"spearman": Metric(("grade", "similarity"), spearman, chance=0.0)}
        return scores(self.name, data, rows, outcomes, metrics)

    def _grades(self, data: Data) -> Float[np.ndarray, " N"]:
        """Return how alike every pair is said to be, NaN where nothing is said."""
        label = data.labels.get(self.grade)
        if isinstance(label, Classes):
            return np.where(label.known, label.values, np.nan)
        if isinstance(label, Numbers):
            return label.values.astype(np.float64)
        raise NotApplicableError(
            f"{self.name} needs the label {self.grade}, of numbers or of classes in rising order, and {data.name!r} "
            f"has {listed(data.labels) or 'none'}: leave the task out"
        )


def _pair(ways: Mapping[str, str], data: Data, rows: Rows) -> list[str]:
    """Return the first two of some columns that rows have, or as many as there are."""
    return [column for column in ways if data.present(column, rows).all()][:2]


def _ways(features: EmbeddingCache) -> dict[str, str]:
    """Return the columns of the data that the model embeds, each with that of the model that it is embedded as."""
    if len(features.shared) > 1:
        return {column: column for column in features.shared}
    own = {modality: column for column, modality in (features.shared or features.columns).items()}
    return {column: own[it] for column, it in features.data.columns.items() if it in own}
