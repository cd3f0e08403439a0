"""All diagnostics of a model on some rows, in one call."""

from __future__ import annotations

from itertools import combinations

import torch

from ..data.base import Data, Rows
from ..data.columns import way
from ..data.embeddings import EmbeddingCache
from ..types import Embedder
from .analogies import arithmetic
from .gap import centroid_gap, separability
from .geometry import alignment, components, effective_rank, std_per_dimension, uniformity

ATTRIBUTES = ("tone", "gender")


@torch.no_grad()
def describe(model: Embedder, data: Data, rows: Rows) -> dict[str, float]:
    """Measure a model's representation of some rows; the numbers have names.

    For pictures and captions: ``alignment``, ``uniformity_image``/``_text``, ``gap_centroid``, ``gap_separability``,
    ``effective_rank_image``/``_text``, ``components_99_image``/``_text`` (principal components for 99 % of the
    variance), ``std_image``/``_text`` (mean deviation per dimension times √d; 1 is well spread, 0 collapsed), and
    ``arithmetic_tone``/``arithmetic_gender`` where the data has these labels. A row's text is its first evaluation
    caption. A model of one modality has only the numbers of that one, and one whose pictures and texts are not
    points of one space (filip's sets of tokens) none of both. NaN where a number is undefined for so few rows. So it
    is with the columns of any data: ``uniformity_COLUMN`` … of each that the model embeds, and of pairs after the
    first ``alignment_i2a`` …, named as those of retrieval.

    Args:
        model: an embedder, or its `EmbeddingCache`; the default head is described.
        data: where the rows are from.
        rows: which to describe.

    Raises:
        ValueError: if there are no rows, or an embedding is not finite.
    """
    if not len(rows):
        raise ValueError(f"there are no rows of {data.name!r} to describe: the split is empty")
    features = EmbeddingCache.of(model, data)
    there = {column: data.present(column, rows) for column in features.shared}
    numbers: dict[str, float] = {}
    for position, (a, b) in enumerate(combinations(there, 2)):
        both = rows[there[a] & there[b]]
        if not len(both):
            continue
        of_a, of_b = features.column(a, both), features.column(b, both)
        if of_a.shape[1] == of_b.shape[1]:
            suffix = f"_{way(data.columns, a, b)}" if position else ""
            numbers[f"alignment{suffix}"] = alignment(of_a, of_b)
            numbers[f"gap_centroid{suffix}"] = centroid_gap(of_a, of_b)
            numbers[f"gap_separability{suffix}"] = separability(of_a, of_b)
    for column, present in there.items():
        if not present.any():
            continue
        z = features.column(column, rows[present])
        numbers[f"uniformity_{column}"] = uniformity(z)
        numbers[f"effective_rank_{column}"] = effective_rank(z)
        numbers[f"components_99_{column}"] = components(z)
        numbers[f"std_{column}"] = float(std_per_dimension(z).mean()) * z.shape[1] ** 0.5
    for attribute in ATTRIBUTES:
        if attribute in data.classes and numbers.keys() >= {
            "alignment",
            "uniformity_image",
            "uniformity_text",
        }:
            numbers[f"arithmetic_{attribute}"] = arithmetic(features, data, rows, attribute)
    return numbers
