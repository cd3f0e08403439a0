"""Contamination: how much of a test a model may have seen in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .task import row_chunks

PAPERS = {"vlb": ("contamination",)}

THRESHOLD = 0.9


class Contamination(NamedTuple):
    """Marks of the test pictures that training knows; the means over pictures are the shares that are reported.

    Attributes:
        nearest: the training picture of highest cosine.
        cosine: to it.
        image: whether that is above the threshold.
        image_text: whether, besides, the question can be answered from a caption of a training picture that is above
            it; never where no captions were given.
    """

    nearest: Int[np.ndarray, " n"]
    cosine: Float[np.ndarray, " n"]
    image: Bool[np.ndarray, " n"]
    image_text: Bool[np.ndarray, " n"]


def contamination(
    tested: Float[Tensor, "n d"],
    trained: Float[Tensor, "m d"],
    answered: Callable[[int, int], bool] | None = None,
    threshold: float = THRESHOLD,
) -> Contamination:
    """Look for test pictures in training by the embeddings of a third model; no n × m matrix is kept.

    A lower share after pictures were changed is partly so by construction: it says that fewer pictures can be looked
    up, not that a model has memorised less.

    Args:
        tested, trained: embeddings of the pictures; they are normalised here.
        answered: from a test item and a training picture above the threshold, whether the item's question can be
            answered from the picture's caption: exactly on scenes, by a language model elsewhere.
        threshold: cosines above it are a match.

    Raises:
        ValueError: for no pictures, embeddings of different widths or that are not finite, or a threshold outside
            [−1, 1].

    Source: Yang et al. (2024), arXiv 2410.08695: CLIP's cosine above 0.9, then a language model on the matched caption.

    >>> found = contamination(torch.eye(3)[:2], torch.eye(3)[1:], answered=lambda item, row: False)
    >>> found.image.tolist(), found.nearest[1].item(), found.image_text.any().item()
    ([False, True], 0, False)
    """
    if not len(tested) or not len(trained) or tested.shape[1] != trained.shape[1]:
        raise ValueError(
            f"embeddings of some test and some training pictures must have one width, got {tuple(tested.shape)} and "
            f"{tuple(trained.shape)}"
        )
    if not (torch.isfinite(tested).all() and torch.isfinite(trained).all()):
        # One of them would be the nearest of every picture, and above no threshold: nothing would look contaminated.
        raise ValueError("embeddings of test or training pictures are NaN or infinite")
    if not -1 <= threshold <= 1:
        raise ValueError(f"threshold is a cosine, from -1 to 1; got {threshold}")
    x, y = (F.normalize(z.float(), dim=-1) for z in (tested, trained))
    cosine, nearest, revealed = torch.empty(len(x)), torch.empty(len(x), dtype=torch.long), []
    for rows in row_chunks(len(x), len(y)):
        near = x[rows] @ y.T
        cosine[rows], nearest[rows] = near.max(1)
        for item, row in enumerate(near, rows.start):
            matches: Sequence[int] = torch.nonzero(row > threshold)[:, 0].tolist() if answered else ()
            revealed.append(any(answered(item, match) for match in matches) if answered else False)
    similarity = cosine.numpy()
    return Contamination(nearest.numpy(), similarity, similarity > threshold, np.array(revealed, dtype=bool))
