"""Choices: a picture, several captions, one of them right.

The right caption must beat every other one; equal similarities (up to rounding) are wrong. Public scripts that take
the first of the largest similarities give a model that ignores word order whatever the order of the options is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from ...data.base import PairedData, Rows
from ...data.items import Choices
from ...diagnostics.features import Features
from ...types import Embedder, Metric, Scores
from ..statistic import class_and_hit, mean, mean_per_class
from .asking import classes, item_scores, items_of, option_similarities, right_and_margin


@final
class SugarCrepe:
    """SugarCrepe's scores: accuracy among a caption and its hard negatives, by how the negative was made.

    ``accuracy`` over all items, ``mean_over_kinds`` over the kinds (``"swap object"``, ``"add attribute"`` …), and
    one for each family that occurs, the first word of a kind: ``swap``, ``replace``, ``add``. Chance is the mean
    of 1/options: 1/2 with one negative.

    Raises:
        NotApplicable: if the data has no choices.

    Source: Hsieh et al., "SugarCrepe: Fixing Hackable Benchmarks for Vision-Language Compositionality" (2023),
    arXiv 2306.14610.
    """

    name = "sugarcrepe"
    primary = "accuracy"
    modalities = ("image", "text")
    form = Choices

    def __call__(self, model: Embedder, data: PairedData, rows: Rows) -> Scores:
        features = Features.of(model, data)
        items = items_of(features, Choices, rows, self.name)
        outcomes = chosen_rightly(features, items)
        right, guess = outcomes["right"], outcomes["guess"]
        outcomes["kind_and_right"] = class_and_hit(classes(items.kinds), right)
        metrics = {
            "accuracy": Metric("right", mean, chance=mean(guess)),
            "mean_over_kinds": Metric(
                "kind_and_right",
                mean_per_class,
                chance=mean_per_class(class_and_hit(classes(items.kinds), guess)),
            ),
        }
        of = families(items.kinds)
        for family in dict.fromkeys(of.tolist()):
            outcomes[family] = np.where(of == family, right, np.nan)
            metrics[family] = Metric(family, mean, chance=mean(guess[of == family]))
        return item_scores(self.name, items, outcomes, metrics)


@final
class ARO:
    """ARO's scores: attribution, relation and order.

    The kind of an item is its family and, after a colon, what exactly it is about: ``"relation: to the left of"``,
    ``"attribution: white red"``, ``"order"``. ``accuracy`` is over all items; for each family there are its own,
    ``relation`` …, and ``relation_macro``, the mean over what it is exactly about, which is the paper's number. All
    relations and all pairs of attributes that occur count, however rare. The subsets are the families.

    Raises:
        NotApplicable: if the data has no choices.

    Source: Yüksekgönül et al., "When and Why Vision-Language Models Behave like Bags-of-Words" (2023), arXiv
    2210.01936.
    """

    name = "aro"
    primary = "accuracy"
    modalities = ("image", "text")
    form = Choices

    def __call__(self, model: Embedder, data: PairedData, rows: Rows) -> Scores:
        features = Features.of(model, data)
        items = items_of(features, Choices, rows, self.name)
        outcomes = chosen_rightly(features, items)
        right, guess = outcomes["right"], outcomes["guess"]
        metrics = {"accuracy": Metric("right", mean, chance=mean(guess))}
        exactly, of = classes(items.kinds), families(items.kinds)
        for family in dict.fromkeys(of.tolist()):
            its = of == family
            outcomes[family] = np.where(its, right, np.nan)
            outcomes[f"{family}_macro"] = np.where(its, class_and_hit(exactly, right), np.nan)
            metrics[family] = Metric(family, mean, chance=mean(guess[its]))
            metrics[f"{family}_macro"] = Metric(
                f"{family}_macro", mean_per_class, chance=mean_per_class(class_and_hit(exactly, guess)[its])
            )
        return item_scores(self.name, items, outcomes, metrics, subsets=of.tolist())


def chosen_rightly(features: Features, items: Choices) -> dict[str, np.ndarray]:
    """Outcomes per item: ``right``, ``margin``, the number of the ``chosen`` option, and what a ``guess`` scores."""
    similarities = option_similarities(features, items)
    right, margin = right_and_margin(similarities, items.answers)
    return {
        "right": right,
        "margin": margin,
        "chosen": np.array([float(s.argmax()) for s in similarities]),
        "guess": np.array([1 / len(s) for s in similarities]),
    }


def families(kinds: Sequence[str]) -> np.ndarray:
    """The first word of each kind.

    >>> families(["swap object", "relation: behind"]).tolist()
    ['swap', 'relation']
    """
    return np.array([kind.split()[0].rstrip(":") if kind.strip() else kind for kind in kinds])
