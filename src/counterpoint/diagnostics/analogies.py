"""Arithmetic across modalities: a picture, minus one word, plus another."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from ..data.base import Data, Rows
from ..data.embeddings import EmbeddingCache
from ..types import Embedder

PAPERS = {"contrastive-gap": ("arithmetic",)}

LIMIT = 1000


def arithmetic(model: Embedder, data: Data, rows: Rows, attribute: str) -> float:
    """Compute how often exchanging an attribute in embedding space finds the picture with that attribute exchanged.

    For a picture a with value x of the attribute and every other value y, the picture nearest to
    ``normalise(image(a) − text(x) + text(y))`` among the other rows is right if it has value y and shares
    every other label that can be said with a. Only exchanges that some row would answer count; where pictures tie
    as the nearest, the fraction of them that is right counts. Texts are the class embeddings of zero-shot
    classification. At most the first 1,000 pictures are exchanged.

    Args:
        model: an embedder, or its `EmbeddingCache`.
        data: has ``attribute`` among its labels.
        rows: the pictures; those without one count for nothing.
        attribute: a name in ``data.classes`` (``"tone"``, ``"gender"``).

    Returns:
        The mean over exchanges in [0, 1]; NaN where there is none.

    Source: multimodal arithmetic of contrastive-gap, after SIMAT (Couairon et al. 2022).
    """
    features = EmbeddingCache.of(model, data)
    rows = rows[data.present("image", rows)]
    values = data.classes[attribute].values[rows]
    others = [
        label.values[rows] for name, label in data.classes.items() if name != attribute and label.templates
    ]
    context = np.unique(np.stack([np.zeros(len(rows), int), *others]), axis=1, return_inverse=True)[
        1
    ].reshape(-1)
    members = set(zip(context.tolist(), values.tolist(), strict=True))
    exchanges = [
        (a, y)
        for a in np.flatnonzero(values >= 0)[:LIMIT]
        for y in range(len(data.classes[attribute].names))
        if y != values[a] and (context[a], y) in members
    ]
    if not exchanges:
        return math.nan
    images, words = features.images(rows), features.classes(data.classes[attribute])
    correct = 0.0
    for start in range(0, len(exchanges), 512):
        a, y = (torch.tensor(part) for part in np.array(exchanges[start : start + 512]).T)
        queries = F.normalize(images[a] - words[torch.from_numpy(values)[a]] + words[y], dim=-1)
        scores = features.similarity(queries, images)
        scores[torch.arange(len(a)), a] = -math.inf
        nearest = scores == scores.amax(1, keepdim=True)
        right = torch.from_numpy(context[None, :] == context[a.numpy(), None]) & (
            torch.from_numpy(values)[None, :] == y[:, None]
        )
        correct += float(((nearest & right).sum(1) / nearest.sum(1)).sum())
    return correct / len(exchanges)
