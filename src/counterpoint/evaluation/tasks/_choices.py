"""Choices: a picture, several captions, one of them right.

The right caption must beat every other one; equal similarities (up to rounding) are wrong. Public scripts that take
the first of the largest similarities give a model that ignores word order whatever the order of the options is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from ...data.base import Data, Rows
from ...data.embeddings import EmbeddingCache
from ...data.items import Choices
from ...types import Embedder, Metric, Scores
from ..item_scores import (
    EMBEDDING,
    Scored,
    by_head,
    classes,
    item_scores,
    items_of,
    option_similarities,
    right_and_margin,
)
from ..statistic import mean, mean_per_class
from ..task import EmbedderTask

Outcomes = dict[str, np.ndarray]
_TAKEN = ("example", "subset", "right", "margin", "chosen", "guess", "kind", "accuracy")
"""Names of columns and metrics that are no family's."""


class ChoiceTask(EmbedderTask):
    """A score on choices: ``accuracy`` over all items, and over those of each family, the first word of a kind.

    Models that score pairs jointly have each number by that score too, as ``accuracy[joint]``.

    Chance is the mean of 1/options. Outcomes besides: ``margin``, by how much the right option leads, and the number
    of the ``chosen`` one.

    Attributes:
        by_family: whether items are reported under their families, and else under their kinds.

    Raises:
        NotApplicableError: if the data has no choices.
    """

    name: str
    by_family: bool
    primary = "accuracy"
    modalities = ("image", "text")
    form = Choices
    joint = True

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        features = EmbeddingCache.of(model, data)
        items = items_of(features, Choices, rows, self.name)
        of = families(items.kinds)
        outcomes, metrics = by_head(features, lambda head: self._scored(features, items, of, head))
        return item_scores(self.name, items, outcomes, metrics, of.tolist() if self.by_family else None)

    def _scored(self, features: EmbeddingCache, items: Choices, of: np.ndarray, head: str) -> Scored:
        """Return the outcomes and the metrics of one head."""
        outcomes = chosen_rightly(features, items, head)
        right, guess = outcomes["right"], outcomes["guess"]
        metrics = {"accuracy": Metric("right", mean, chance=mean(guess))}
        for family in dict.fromkeys(of.tolist()):
            outcomes[family] = np.where(of == family, right, np.nan)
            metrics[family] = Metric(family, mean, chance=mean(guess[of == family]))
        outcomes["kind"] = classes(items.kinds)
        metrics |= self.by_kind(of, outcomes)
        return outcomes, metrics

    @abstractmethod
    def by_kind(self, of: np.ndarray, outcomes: Outcomes) -> Mapping[str, Metric]:
        """Return the metrics that are means over kinds.

        Args:
            of: the family of each item.
            outcomes: as of `chosen_rightly`, with the number of each item's ``kind`` and a column for each family.
        """


def mean_over_kinds(column: str, outcomes: Outcomes) -> Metric:
    """Return the mean over kinds of accuracy among the items that a column of outcomes is about."""
    guesses = np.stack([outcomes["kind"], outcomes["guess"]], 1)[~np.isnan(outcomes[column])]
    return Metric(("kind", column), mean_per_class, chance=mean_per_class(guesses))


def chosen_rightly(features: EmbeddingCache, items: Choices, head: str = EMBEDDING) -> Outcomes:
    """Return outcomes per item: ``right``, ``margin``, the ``chosen`` option's number and what a ``guess`` scores."""
    similarities = option_similarities(features, items, head)
    right, margin = right_and_margin(similarities, items.answers)
    return {
        "right": right,
        "margin": margin,
        "chosen": np.array([float(s.argmax()) for s in similarities]),
        "guess": np.array([1 / len(s) for s in similarities]),
    }


def families(kinds: Sequence[str]) -> np.ndarray:
    """Return the first word of each kind, behind another one where an outcome or a metric is called so.

    >>> families(["swap object", "relation: behind", "right"]).tolist()
    ['swap', 'relation', 'kind right']
    """
    first = [kind.split()[0].rstrip(":") if kind.strip() else kind for kind in kinds]
    return np.array([f"kind {one}" if one in _TAKEN else one for one in first])
