"""The gap between two modalities."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

PAPERS = {"contrastive-gap": ("centroid_gap", "separability")}


def centroid_gap(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """Return the distance of the means of two clouds of unit-norm embeddings, in [0, 2]; 0 is no gap.

    It can be small while the clouds are still separable: read it beside `separability`.

    Source: contrastive-gap (2024).

    >>> centroid_gap(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]]))
    2.0
    """
    if not len(x) or not len(y):
        return math.nan
    return float((F.normalize(x.double(), dim=-1).mean(0) - F.normalize(y.double(), dim=-1).mean(0)).norm())


def separability(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], seed: int = 0) -> float:
    """Measure how well a linear classifier tells two modalities apart: 0.5 not at all, 1 always.

    Held-out accuracy of a logistic regression (L2, C = 1, on unit-norm embeddings times √d, so that
    coordinates have about unit size), two-fold: pairs are split in two halves, each half is tested with a
    classifier trained on the other, and both embeddings of a pair are on the same side. At most 4,000 pairs,
    drawn by ``seed``, are used. NaN for fewer than 4 pairs.

    Args:
        x, y: matched embeddings of the two modalities.
        seed: of the split.

    Source: contrastive-gap (2024).
    """
    from sklearn.linear_model import LogisticRegression

    if x.shape != y.shape:
        raise ValueError(f"separability needs matched rows; got shapes {tuple(x.shape)} and {tuple(y.shape)}")
    if len(x) < 4:
        return math.nan
    order = np.random.default_rng(seed).permutation(len(x))[:4000]
    both = torch.stack([F.normalize(x, dim=-1), F.normalize(y, dim=-1)]).double() * math.sqrt(x.shape[1])
    halves = [both[:, part].flatten(0, 1).numpy() for part in np.array_split(order, 2)]
    modality = [np.repeat([0, 1], len(half) // 2) for half in halves]
    accuracies = []
    for train, test in ((0, 1), (1, 0)):
        classifier = LogisticRegression(max_iter=1000).fit(halves[train], modality[train])
        accuracies.append(classifier.score(halves[test], modality[test]))
    return float(np.mean(accuracies))
