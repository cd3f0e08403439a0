"""Amplification of the bias of training data by a probe's predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import numpy as np
from jaxtyping import Float, Int

from ...data.base import Data, Rows
from ...data.embeddings import EmbeddingCache
from ...data.labels import Classes
from ...types import Embedder, Metric, Scores
from ..bias_amplification import (
    Members,
    attribute_sets,
    directional,
    incidence,
    sampling_noise,
    thresholds,
    training_sign,
)
from ..classifiers import class_probabilities
from ..statistic import mean
from ..task import EmbedderTask, NotApplicableError, check_labels, check_rows, subsample_by_hash, table

RESAMPLES = 20
"""Resamples of the test labels, for what noise alone amounts to."""


_KINDS = ("", "_signed", "_variance")


@final
class BiasAmplification(EmbedderTask):
    r"""Ties of a group to attributes, and to sets of them, that can be read from a model, beyond those of the labels.

    The groups are the classes of one label of the data, the attributes those of all its other labels. Both are read
    from the embeddings of pictures by logistic regressions on at most ``limit`` training rows, and said of a picture
    where the probability is above a threshold: the one that says them of as many validation rows as have them (of
    training rows, without validation).

    ``multi`` is the mean of \|Δ(m, g)\| over groups g and sets m of two attributes or more, `directional` with the
    groups predicted; ``multi_signed`` and ``multi_variance`` are the mean with signs and the variance,
    ``multi_GROUP`` is the mean for one group. ``single``… are the same of attributes one by one; ``…_attributes``
    have the attributes predicted. Ideal is 0; chance is what resampled test labels score as predictions
    (`sampling_noise`), for signed means 0. With the signs that the differences have on this test set each metric is a
    mean of one component per example, which is its outcome. Rows without a group, or a picture, count for nothing.

    Args:
        groups: labels of which the first that the data has gives the groups.
        limit: training and validation rows at most, the same for every model and seed.
        more_than: a set counts if more training pictures show it and nothing else, and more test pictures show it.

    Raises:
        NotApplicableError: if the data has none of the labels, or no other one.
        ValueError: if training or test shows one group only, or no attribute is frequent enough.

    Source: Zhao et al., "Men Also Do Laundry: Multi-Attribute Bias Amplification" (2022), arXiv 2210.11924.
    """

    family = "classification"
    name = "multi_attribute_bias_amplification"
    primary = "multi"
    modalities = ("image",)
    learns = True
    papers = ("multi-attribute-bias-amplification",)

    def __init__(
        self,
        groups: tuple[str, ...] = ("gender", "tone", "background"),
        limit: int = 1000,
        more_than: int = 5,
    ) -> None:
        self.labels: tuple[str, ...] = groups
        self.limit, self.more_than = limit, more_than

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        group = check_labels(data, self.labels, self.name)[0]
        others = [name for name, label in data.classes.items() if name != group and label.templates]
        if not others:
            raise NotApplicableError(
                f"{self.name} needs labels besides {group!r}, and {data.name!r} has none"
            )
        values = data.classes[group].values
        test, train = (
            part[(values[part] >= 0) & data.present("image", part)] for part in (rows, data.splits.train)
        )
        check_rows(data, test, self.name, 2)
        test = test[
            np.argsort(data.ids[test])
        ]  # so that the resampling of chance does not depend on their order
        for part, where in (("training", train), ("test", test)):
            if len(np.unique(values[where])) < 2:
                raise ValueError(f"{self.name}: the {part} rows of {data.name!r} show one {group} only")

        every = [group, *others]
        truth = {
            name: (_one_hot(data.classes[name], train), _one_hot(data.classes[name], test)) for name in every
        }
        before = np.concatenate([truth[name][0] for name in others], 1), truth[group][0]
        after = np.concatenate([truth[name][1] for name in others], 1), truth[group][1]
        predictions = self._predictions(EmbeddingCache.of(model, data), data, every, train, test)
        predicted = {
            "groups": predictions[group],
            "attributes": np.concatenate([predictions[name] for name in others], 1),
        }

        names = [f"{label}: {name}" for label in others for name in data.classes[label].names]
        sets = {
            "single": tuple(
                (a,)
                for a in range(len(names))
                if min(before[0][:, a].sum(), after[0][:, a].sum()) > self.more_than
            ),
            "multi": attribute_sets(before[0], after[0], least=2, more_than=self.more_than),
        }
        if not sets["single"]:
            raise ValueError(
                f"{self.name}: no attribute is shown by more than {self.more_than} training and test rows of "
                f"{data.name!r}: make the splits larger, or more_than smaller"
            )
        one = (
            predictions[group].sum(1) == 1
        )  # with thresholds a row may be said to be of several groups, or of none
        outcomes = {"predicted": np.where(one, predictions[group].argmax(1), np.nan)}
        metrics: dict[str, Metric] = {}
        for size, those in sets.items():
            for of, suffix in (("groups", ""), ("attributes", "_attributes")):
                # What is said of attributes, given a group, is not told group by group.
                apart = data.classes[group].names if of == "groups" else ()
                parts, chances = _parts(before, after, predicted[of], those, of, apart)
                for kind, component in parts.items():
                    name = f"{size}{suffix}{kind}"
                    outcomes[name] = component
                    metrics[name] = Metric(
                        name,
                        mean,
                        higher_is_better=False,
                        chance=chances[kind],
                        bounds=(-math.inf, math.inf),
                    )
        return table(self.name, data.ids[test], ["all"] * len(test), outcomes, metrics)

    def _predictions(
        self,
        features: EmbeddingCache,
        data: Data,
        labels: Sequence[str],
        train: Int[np.ndarray, " m"],
        test: Rows,
    ) -> dict[str, Members]:
        """Return the classes of each label that the test rows are predicted to have."""
        learned = train[subsample_by_hash(data, train, self.limit, self.name)]
        validation = np.concatenate([np.zeros(0, np.int64), *data.splits.validation.values()])
        validation = validation[data.present("image", validation)]
        held = (
            validation[subsample_by_hash(data, validation, self.limit, self.name)]
            if len(validation)
            else learned
        )
        x, known, unknown = (features.images(part).numpy() for part in (learned, held, test))
        predictions = {}
        for name in labels:
            label = data.classes[name]
            classes, there = label.values[learned], label.values[held] >= 0
            if len(np.unique(classes[classes >= 0])) < 2 or not there.any():
                predictions[name] = np.zeros((len(test), len(label.names)), dtype=bool)
                continue
            of = class_probabilities(x[classes >= 0], classes[classes >= 0], len(label.names))
            bound = thresholds(of(known[there]), _one_hot(label, held[there]))
            predictions[name] = of(unknown) > bound
        return predictions


def _one_hot(label: Classes, rows: Rows) -> Members:
    return label.values[rows][:, None] == np.arange(len(label.names))


def _parts(
    before: tuple[Members, Members],
    after: tuple[Members, Members],
    predicted: Members,
    sets: tuple[tuple[int, ...], ...],
    of: str,
    groups: Sequence[str],
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return the metrics of one direction, each as a component per test example, and their chance levels.

    A difference Δ(m, g) is the mean over examples of (predicted − true) · [given] / P(given); a metric is a sum of
    differences with weights that are fixed here.
    """
    if not sets:
        missing = {kind: np.full(len(predicted), np.nan) for kind in (*_KINDS, *(f"_{g}" for g in groups))}
        return missing, dict.fromkeys(missing, 0.0)
    signed = directional(before, after, predicted, sets, of=of).signed
    known, values, sign = ~np.isnan(signed), np.nan_to_num(signed), training_sign(before, sets)
    count = max(int(known.sum()), 1)
    absolute = sign * np.sign(values)
    weights = {
        "": absolute / count,
        "_signed": sign / count,
        "_variance": sign * (values - values.sum() / count) / count,
    }
    for g, name in enumerate(groups):
        weights[f"_{name}"] = np.where(np.arange(len(groups)) == g, absolute, 0) / max(
            int(known[:, g].sum()), 1
        )

    m, g_ = incidence(after[0], sets), after[1]
    condition, other = (m, g_) if of == "groups" else (g_, m)
    share = condition.mean(0)
    likely = np.divide(condition, share, out=np.zeros(condition.shape), where=share > 0)
    claimed = predicted if of == "groups" else incidence(predicted, sets)
    wrong = claimed.astype(float) - other

    def component(w: Float[np.ndarray, "M G"]) -> Float[np.ndarray, " n"]:
        return (likely @ (w if of == "groups" else w.T) * wrong).sum(1)

    noise = [sampling_noise(before, after, sets, of=of, seed=seed) for seed in range(RESAMPLES)]
    chances = {"": float(np.mean([n.mean for n in noise])), "_signed": 0.0}
    chances["_variance"] = float(np.mean([n.variance for n in noise]))
    for g, name in enumerate(groups):
        chances[f"_{name}"] = float(np.mean([np.nanmean(np.abs(n.signed[:, g])) for n in noise]))
    return {kind: component(w * known) for kind, w in weights.items()}, chances
