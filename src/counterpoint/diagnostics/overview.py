"""All diagnostics of a model on some rows, in one call."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.base import PairedData, Pictured, Rows
from ..data.embeddings import EmbeddingCache
from ..types import Embedder
from .analogies import arithmetic
from .gap import centroid_gap, separability
from .geometry import alignment, components, effective_rank, std_per_dimension, uniformity

ATTRIBUTES = ("tone", "gender")


@torch.no_grad()
def describe(model: Embedder, data: Pictured, rows: Rows) -> dict[str, float]:
    """Measure a model's representation of some rows; the numbers have names.

    ``alignment``, ``uniformity_image``/``_text``, ``gap_centroid``, ``gap_separability``,
    ``effective_rank_image``/``_text``, ``components_99_image``/``_text`` (principal components for 99 % of
    the variance), ``std_image``/``_text`` (mean deviation per dimension times √d; 1 is well spread, 0
    collapsed), and ``arithmetic_tone``/``arithmetic_gender`` where the data has these labels. A row's text is
    its first evaluation caption. A model of one modality has only the numbers of that one, and one
    whose pictures and texts are not points of one space (filip's sets of tokens) none of both. NaN where a number is
    undefined for so few rows.

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
    embedded: dict[str, Tensor] = {}
    if "image" in features.embeds:
        embedded["image"] = features.images(rows)
    if "text" in features.embeds and isinstance(data, PairedData):
        embedded["text"] = features.texts([data.evaluation_captions(int(row))[0] for row in rows])
    numbers = {}
    together = len(embedded) == 2 and embedded["image"].shape[1] == embedded["text"].shape[1]
    if together:
        image, text = embedded["image"], embedded["text"]
        numbers = {
            "alignment": alignment(image, text),
            "gap_centroid": centroid_gap(image, text),
            "gap_separability": separability(image, text),
        }
    for name, z in embedded.items():
        numbers[f"uniformity_{name}"] = uniformity(z)
        numbers[f"effective_rank_{name}"] = effective_rank(z)
        numbers[f"components_99_{name}"] = components(z)
        numbers[f"std_{name}"] = float(std_per_dimension(z).mean()) * z.shape[1] ** 0.5
    for attribute in ATTRIBUTES:
        if attribute in data.labels and together:
            numbers[f"arithmetic_{attribute}"] = arithmetic(features, data, rows, attribute)
    return numbers
