"""Out-of-distribution detection: does a model notice that pictures are of another kind than those it was trained on?"""

from __future__ import annotations

from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from ...data.base import Data, ImageSource, Rows
from ...data.embeddings import BATCH, EmbeddingCache
from ...types import Embedder, EnergyModel, Metric, Scores
from ..auc import auc_components
from ..statistic import mean
from ..task import (
    EmbedderTask,
    NotApplicableError,
    check_rows,
    check_training,
    row_chunks,
    scores,
    subsample_by_hash,
)

Familiar = dict[str, np.ndarray]
"""The familiarity of some pictures, by each score."""


@final
class OutOfDistribution(EmbedderTask):
    """The area under the ROC curve of a score that should tell the test pictures from other pictures of the same rows.

    The other pictures are the data's shifts: the other artist's, on another background. Scores, high for what is
    familiar: ``cosine``, the largest with a training picture; and ``energy``, −E(x), of models that have an energy.
    ``cosine_artist`` is the AUROC of the first against the other artist's pictures; ½ is chance. It is a mean over
    rows (:func:`counterpoint.evaluation.auc.auc_components`), so it is resampled as other metrics are. Rows without a
    picture count for nothing.

    Args:
        limit: training pictures at most that are compared with.

    Raises:
        NotApplicableError: if the data has no shifts, or no pictures in these rows or in training.
        ValueError: if there are no rows, or no training rows.

    Source: Shevchenko et al., "EBMs vs. CL" (2022), arXiv 2206.14355; the largest cosine is the usual score of
    contrastive models.
    """

    family = "classification"
    name = "out_of_distribution"
    primary = "cosine_artist"
    modalities = ("image",)
    learns = True
    papers = ("ebm-vs-cl-vqa",)

    def __init__(self, limit: int = 2000) -> None:
        self.limit = limit

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        shifts = data.shifts()
        if not shifts:
            raise NotApplicableError(
                f"{self.name} needs other pictures of the same rows, and {data.name!r} has none"
            )
        check_training(self, data)
        features = EmbeddingCache.of(model, data)
        seen, there = (part[data.present("image", part)] for part in (data.splits.train, rows))
        if not len(seen) or not len(there):
            raise NotApplicableError(
                f"{self.name} compares pictures with those of training, and {data.name!r} has {len(there)} and "
                f"{len(seen)}: leave the task out"
            )
        train = seen[subsample_by_hash(data, seen, self.limit, self.name)]
        known = F.normalize(features.images(train), dim=-1)
        energy = features.model.energy if isinstance(features.model, EnergyModel) else None

        def score(pictures: UInt8[Tensor, "k 3 H W"]) -> Familiar:
            by_score = {"cosine": _largest(F.normalize(features.pictures(pictures), dim=-1), known)}
            if energy is not None:
                by_score["energy"] = -energy(pictures).detach().cpu().double().numpy()
            return by_score

        def over(source: ImageSource) -> Familiar:
            parts = [score(source(part)) for part in np.array_split(there, -(-len(there) // BATCH))]
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

        of_images = over(lambda some: data.read("image", some))
        outcomes: dict[str, np.ndarray] = {}
        for shift, source in shifts.items():
            other = over(source)
            for name, familiar in of_images.items():
                outcomes[f"{name}_{shift}"] = auc_components(familiar, other[name])
        metrics = {name: Metric(name, mean, chance=0.5) for name in outcomes}
        return scores(self.name, data, there, outcomes, metrics)


def _largest(z: Float[Tensor, "n d"], known: Float[Tensor, "m d"]) -> Float[np.ndarray, " n"]:
    largest = [(z[part] @ known.T).amax(1) for part in row_chunks(len(z), len(known))]
    return torch.cat(largest).double().numpy()
