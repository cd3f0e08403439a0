"""Simplicity bias: what features keep of a finer label beside an easy one."""

from __future__ import annotations

from typing import final

import numpy as np

from ...data.base import Data, Rows
from ...data.embeddings import EmbeddingCache
from ...forms import Count, NonNegative
from ...types import Embedder, Metric, Scores
from ..simplicity import CLASSES, SUBCLASSES, class_share, noise_of, probed, probed_within
from ..statistic import mean
from ..task import EmbedderTask, NotApplicableError, check_rows, scatter, scores, subsample_by_hash


@final
class CLSimplicityBias(EmbedderTask):
    """Accuracies of a noisy linear probe on embeddings: for classes, for their subclasses and for irrelevant features.

    A linear probe does not care about scale, and finds a feature a thousand times smaller than the others. So noise is
    added to all embeddings, N(0, (noise · rms)²), rms their root mean square in training: what is drowned by it counts
    as lost. Noise depends on a row's id alone. Probes (logistic regression) learn from training rows and are asked
    about these rows: on its training examples a supervised encoder collapses by construction.

    Metrics: ``LABEL_top1`` of the classes, the subclasses and each irrelevant label, chance 1/classes;
    ``concept_within_group``, the subclass given the class: one probe for each class, among the subclasses it has in
    training, chance the mean of 1/subclasses; ``LABEL_share``, the share of the embeddings' variance that lies between
    the classes of a label, without noise, which is (classes − 1) / (rows − 1) by chance. Class collapse is a low
    ``concept_within_group`` beside a high ``group_top1``, suppression a low ``group_top1`` or ``concept_top1`` beside a
    high ``background_top1``; `collapse_index` compares with a reference encoder. Labels are independent only where
    the data's options make them so. Rows without a class or a picture have no outcome.

    Args:
        irrelevant: labels of features that are not asked about: the easy ones. Those that the data lacks are left out.
        noise: relative to the root mean square; 0.1 was tried.
        limit: training rows at most.

    Raises:
        NotApplicableError: if the data lacks the label ``group`` or ``concept``.
        ValueError: for a negative noise, no training rows, or none of these rows labelled.

    Source: Xue et al., "Which Features are Learnt by Contrastive Learning? On the Role of Simplicity Bias in Class
    Collapse and Feature Suppression" (2023), arXiv 2305.16536; the noise is this project's.
    """

    family = "shortcuts"
    name = "cl_simplicity_bias"
    primary = "concept_within_group"
    modalities = ("image",)
    learns = True
    labels = (SUBCLASSES,)  # the rarer one, which runs check for before they train
    papers = ("cl-simplicity-bias",)

    def __init__(
        self,
        irrelevant: tuple[str, ...] = ("background", "colour"),
        noise: NonNegative = 0.1,
        limit: Count = 1000,
    ) -> None:
        self.irrelevant, self.noise, self.limit = irrelevant, noise, limit

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        for needed in (CLASSES, SUBCLASSES):
            if needed not in data.classes:
                raise NotApplicableError(
                    f"{self.name} needs the label {needed!r}, which {data.name!r} does not have"
                )
        train_rows = data.splits.train[data.present("image", data.splits.train)]
        train_rows = train_rows[subsample_by_hash(data, train_rows, self.limit, "simplicity")]
        groups, concepts = (data.classes[name].values for name in (CLASSES, SUBCLASSES))
        train_rows = train_rows[(groups[train_rows] >= 0) & (concepts[train_rows] >= 0)]
        there = data.present("image", rows)
        test = np.flatnonzero((groups[rows] >= 0) & (concepts[rows] >= 0) & there)
        if not len(train_rows) or not len(test):
            raise ValueError(
                f"{self.name} learns from rows with a {CLASSES} and a {SUBCLASSES} and is asked about others; "
                f"{data.name!r} has {len(train_rows)} to train on, and {len(test)} of these {len(rows)}"
            )
        test_rows = rows[test]
        features = EmbeddingCache.of(model, data)
        plain = features.images(test_rows).double().numpy()
        train = features.images(train_rows).double().numpy()
        scale = self.noise * float(np.sqrt(np.mean(train**2)))
        train = train + scale * noise_of(data.ids[train_rows], train.shape[1])
        noisy = plain + scale * noise_of(data.ids[test_rows], plain.shape[1])
        columns: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}
        for label in (CLASSES, SUBCLASSES, *(name for name in self.irrelevant if name in data.classes)):
            values, count = data.classes[label].values, len(data.classes[label].names)
            hits, share = f"{label}_top1", f"{label}_share"
            columns[hits] = probed(train, values[train_rows], noisy, values[test_rows], count)
            columns[share] = class_share(plain, values[test_rows])
            classes = len(np.unique(values[test_rows][values[test_rows] >= 0]))
            labelled = int((values[test_rows] >= 0).sum())
            metrics[hits] = Metric(hits, mean, chance=1 / count)
            metrics[share] = Metric(
                share, mean, chance=(classes - 1) / (labelled - 1) if labelled > 1 else None
            )
        within = f"{SUBCLASSES}_within_{CLASSES}"
        columns["predicted"], guess = probed_within(
            (train, groups[train_rows], concepts[train_rows]), (noisy, groups[test_rows])
        )
        columns[within] = np.where(np.isnan(guess), np.nan, columns["predicted"] == concepts[test_rows])
        guesses = guess[~np.isnan(guess)]
        metrics[within] = Metric(within, mean, chance=mean(guesses) if len(guesses) else None)
        outcomes = {name: scatter(column, test, len(rows)) for name, column in columns.items()}
        return scores(self.name, data, rows, outcomes, metrics)
