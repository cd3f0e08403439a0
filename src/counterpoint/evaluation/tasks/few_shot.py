"""Classes that training has not seen, from a few examples of each."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.base import Data, Rows
from ...data.columns import ANY
from ...data.embeddings import EmbeddingCache
from ...data.labels import Classes
from ...reasons import counted
from ...types import Embedder, Metric, Scores
from ..shots import rows_of_classes
from ..statistic import mean
from ..task import (
    EmbedderTask,
    NotApplicableError,
    asked_column,
    check_labels,
    check_rows,
    main_labels,
    table,
    top1,
)


class FewShot(EmbedderTask):
    """N-way K-shot: which of N classes, each shown by K examples, is another example of?

    The classes are those of a label that no training row has, so that training has not seen them. An example of this
    task is an episode: N of these classes at random, K rows of each that are shown (supports) and up to ``queries``
    that are asked about, as many of each class. A class is the mean of its supports' embeddings, and the nearest mean
    by Euclidean distance is the answer; means that tie share the hit. The first head embeds pictures, or the first
    column that is no text; nothing is trained. Episodes follow from the ids of the rows alone, the same for every
    model and seed; they share rows, so that intervals over them are of this choice of rows.

    Metrics: ``LABEL_Nway_Kshot`` for each K that N classes have rows enough for; chance is 1/N. The main ones are those
    of the first K.

    Args:
        labels: which labels; all classes that the data has unless given.
        ways: N.
        shots: each K.
        queries: of a class at most.
        episodes: in all.

    Raises:
        NotApplicableError: for data in which no label has N classes without training rows, each with one row more than
            the first K in a test set, or a model that embeds none of the columns.
        ValueError: if there are no rows.

    Source: susana-distancia (Méndez-Ruiz et al. 2023), its evaluation; Snell, Swersky and Zemel, "Prototypical
    Networks for Few-shot Learning" (2017), arXiv 1703.05175, for the mean of a class.
    """

    family = "classification"
    name = "few_shot"
    modalities = (ANY,)
    reads = (ANY,)
    draws = True

    def __init__(
        self,
        labels: tuple[str, ...] = (),
        ways: int = 5,
        shots: tuple[int, ...] = (1, 5),
        queries: int = 15,
        episodes: int = 500,
    ) -> None:
        if ways < 2 or not shots or min(shots) < 1 or queries < 1 or episodes < 1:
            raise ValueError(
                f"an episode has two ways or more, and at least one shot and query of each; got ways={ways}, "
                f"shots={shots}, queries={queries}, episodes={episodes}"
            )
        self.labels: tuple[str, ...] = labels
        self.ways, self.shots, self.queries, self.episodes = ways, shots, queries, episodes

    def main_metrics(self, data: Data) -> tuple[str, ...]:
        labels = main_labels(data, self.labels)
        return tuple(
            self._metric(label, self.shots[0]) for label in labels if self._has_episodes(data, label)
        )

    def check_columns(self, data: Data) -> None:
        labels = check_labels(data, self.labels, self.name)
        if not any(self._has_episodes(data, label) for label in labels):
            self._refuse(data, labels, data.splits.test.values())

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        labels = check_labels(data, self.labels, self.name)
        labels = tuple(label for label in labels if self._has_episodes(data, label))
        features = EmbeddingCache.of(model, data)
        column = asked_column(self.name, features)
        rows = rows[data.present(column, rows)]
        rows = rows[np.argsort(data.ids[rows])]
        outcomes: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}
        for label in labels:
            classes = _unseen(data, label, rows)
            for shots in self.shots:
                name = self._metric(label, shots)
                outcomes[name] = np.full(self.episodes, np.nan)
                metrics[name] = Metric(name, mean, chance=1 / self.ways, constant=lambda rows: 1 / self.ways)
                large = [of_class for of_class in classes if len(of_class) > shots]
                if len(large) >= self.ways:
                    z = features.column(column, rows)
                    outcomes[name] = np.array(
                        [self._accuracy(z, large, shots, episode) for episode in range(self.episodes)]
                    )
        if all(np.isnan(outcome).all() for outcome in outcomes.values()):
            self._refuse(data, labels, (rows,))
        ids = np.arange(self.episodes)
        return table(self.name, ids, ["all"] * self.episodes, outcomes, metrics)

    def _metric(self, label: str, shots: int) -> str:
        return f"{label}_{self.ways}way_{shots}shot"

    def _accuracy(
        self, z: Float[Tensor, "n d"], classes: list[Int[np.ndarray, " _"]], shots: int, episode: int
    ) -> float:
        """Return the share of an episode's queries whose class has the nearest mean."""
        rng = np.random.default_rng([episode, shots])
        drawn = [rng.permutation(classes[k]) for k in rng.choice(len(classes), self.ways, replace=False)]
        query_count = min(self.queries, min(map(len, drawn)) - shots)
        supports, queries = (
            np.stack([of_class[part] for of_class in drawn])
            for part in (slice(shots), slice(shots, shots + query_count))
        )
        means = z[torch.from_numpy(supports)].mean(1)
        distances = torch.cdist(z[torch.from_numpy(queries.ravel())].double(), means.double())
        return float(top1(-distances, torch.arange(self.ways).repeat_interleave(query_count)).mean())

    def _has_episodes(self, data: Data, label: str) -> bool:
        """Return whether some test set has enough classes of a label for an episode of the first K."""
        return self.ways <= self._most(data, label, data.splits.test.values())

    def _most(self, data: Data, label: str, tests: Iterable[Rows]) -> int:
        """Return how many unseen classes one of some test sets has that are large enough for the first K."""
        sizes = [[len(one) for one in _unseen(data, label, rows)] for rows in tests]
        return max((sum(size > self.shots[0] for size in of_test) for of_test in sizes), default=0)

    def _refuse(self, data: Data, labels: tuple[str, ...], tests: Collection[Rows]) -> None:
        have = ", ".join(f"{self._most(data, label, tests)} of {label}" for label in labels) or "none"
        raise NotApplicableError(
            f"{self.name} needs {self.ways} classes of a label that no training row has, each with "
            f"{counted(self.shots[0] + 1, 'row')} of a test set, and {data.name!r} has {have}: hold whole classes out "
            "(FOLDER,group=folder, or TABLE,columns=group:LABEL), give fewer ways, or leave the task out"
        )


def _unseen(data: Data, label: str, rows: Rows) -> list[Int[np.ndarray, " _"]]:
    """Return the positions among some rows of each class of a label that no training row has."""
    of_label: Classes = data.classes[label]
    seen = np.bincount(of_label.values[data.splits.train] + 1, minlength=len(of_label.names) + 1)[1:]
    positions = rows_of_classes(np.arange(len(rows)), of_label.values[rows], len(of_label.names))
    return [of_class for of_class, count in zip(positions, seen, strict=True) if len(of_class) and not count]
