"""Multi-attribute bias amplification: do predictions tie a group to sets of attributes more than the labels do?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from ..data.base import Labels, PairedData, Rows
from ..data.embeddings import EmbeddingCache
from ..types import Embedder, Metric, Scores
from .classification.classifiers import class_probabilities
from .statistic import mean
from .task import NotApplicable, Task, check_labels, check_rows, subsample_by_hash, table

Members = Bool[np.ndarray, "_ _"]
"""Marks of the attributes, or of the one group, that each image has."""


@dataclass(frozen=True)
class Amplification:
    """Differences of predictions from labels, for each set of attributes and each group.

    Attributes:
        sets: the attribute sets, as column numbers.
        signed: ``(sets, groups)``; positive amplifies. NaN where nothing is predicted or labelled so.
    """

    sets: tuple[tuple[int, ...], ...]
    signed: Float[np.ndarray, "M G"]

    @property
    def mean(self) -> float:
        """The mean of absolute differences; 0 is ideal. Absolute before averaging: opposite signs do not cancel."""
        return float(np.nanmean(np.abs(self.signed)))

    @property
    def signed_mean(self) -> float:
        """The mean with signs, which earlier metrics report."""
        return float(np.nanmean(self.signed))

    @property
    def variance(self) -> float:
        return float(np.nanvar(self.signed))

    @property
    def skipped(self) -> int:
        """Pairs of a set and a group without a value."""
        return int(np.isnan(self.signed).sum())

    def largest(self, attributes: Sequence[str], groups: Sequence[str], most: int = 20) -> pl.DataFrame:
        """The sets and groups of the largest differences, in words: ``attributes``, ``group``, ``difference``.

        >>> found = Amplification(((0, 1),), np.array([[0.2, -0.3]]))
        >>> found.largest(["ball", "hat"], ["woman", "man"]).rows()
        [('ball + hat', 'man', -0.3), ('ball + hat', 'woman', 0.2)]

        Args:
            attributes, groups: the names of their columns.
            most: rows at most.
        """
        rows = [
            (" + ".join(attributes[a] for a in s), group, float(value))
            for s, values in zip(self.sets, self.signed, strict=True)
            for group, value in zip(groups, values, strict=True)
            if not np.isnan(value)
        ]
        rows.sort(key=lambda row: -abs(row[2]))
        return pl.DataFrame(rows[:most], ("attributes", "group", "difference"), orient="row")


def attribute_sets(
    train: Bool[np.ndarray, "n A"], test: Bool[np.ndarray, "m A"], *, least: int = 1, more_than: int = 0
) -> tuple[tuple[int, ...], ...]:
    """Find the sets of ``least`` attributes or more that more than ``more_than`` training images have, and no others.

    They must also be present together, with others or not, in more than ``more_than`` test images.

    >>> rows = np.array([[True, True], [True, False], [True, True]])
    >>> attribute_sets(rows, rows, least=2)
    ((0, 1),)
    """
    counted = Counter(tuple(np.flatnonzero(row).tolist()) for row in train)
    frequent = [s for s, count in sorted(counted.items()) if count > more_than and len(s) >= max(least, 1)]
    return tuple(s for s in frequent if _present(test, s).sum() > more_than)


def undirected(
    train: tuple[Members, Members], predicted: tuple[Members, Members], sets: tuple[tuple[int, ...], ...]
) -> Amplification:
    """Extend MALS: compare how often a group goes with a set, where it does so more often than 1/groups in training.

        Δ(m, g) = 1[b_train(m, g) > 1/|G|] · (b_predicted(m, g) − b_train(m, g)),  b(m, g) = #(m, g) / #m

    Args:
        train: attributes and groups (one column each group) of training images.
        predicted: the same, predicted for test images.
        sets: of `attribute_sets`.

    Source: Zhao et al., "Men Also Do Laundry: Multi-Attribute Bias Amplification" (2022), arXiv 2210.11924.
    """
    _check(*train)
    _check(*predicted)
    before, after = _share_of_groups(*train, sets), _share_of_groups(*predicted, sets)
    return Amplification(sets, np.where(before > 1 / train[1].shape[1], after - before, 0 * after))


def directional(
    train: tuple[Members, Members],
    true: tuple[Members, Members],
    predicted: Members,
    sets: tuple[tuple[int, ...], ...],
    *,
    of: str,
) -> Amplification:
    """Compute what is predicted beyond what is true, given the other side, with the sign of the training correlation.

        of="groups":      Δ(m, g) = P(g predicted | m true) − P(g true | m true)
        of="attributes":  Δ(g, m) = P(m predicted | g true) − P(m true | g true)

    each times sign(P_train(g, m) − P_train(g) P_train(m)).

    Args:
        train, true: attributes and groups of training and of test images.
        predicted: for test images, groups or attributes as ``of`` says.
        sets: of `attribute_sets`.
        of: which side was predicted.

    Raises:
        ValueError: for another ``of``, or tables that do not fit.

    Source: as `undirected`.
    """
    if of not in ("groups", "attributes"):
        raise ValueError(f"of must be 'groups' or 'attributes', got {of!r}")
    _check(*train)
    _check(*true)
    if predicted.shape != true[of == "groups"].shape:
        raise ValueError(f"predicted {of} are {predicted.shape}, the true ones {true[of == 'groups'].shape}")
    m, g = _incidence(true[0], sets), true[1]
    m_, g_ = (m, predicted) if of == "groups" else (_incidence(predicted, sets), g)
    with np.errstate(invalid="ignore"):
        gap = (_together(m_, g_) - _together(m, g)) / (m.mean(0)[:, None] if of == "groups" else g.mean(0))
    return Amplification(sets, _sign(train, sets) * gap)


def sampling_noise(
    train: tuple[Members, Members],
    true: tuple[Members, Members],
    sets: tuple[tuple[int, ...], ...],
    *,
    of: str,
    seed: int = 0,
) -> Amplification:
    """`directional` of a bootstrap resample of the true test labels as if it were predicted.

    Absolute differences are positive even where there is nothing but noise: what a model amplifies is to be
    compared with the ``mean`` of this.

    Args:
        train, true, sets, of: as for `directional`.
        seed: of the resample.
    """
    rows = np.random.default_rng(seed).integers(len(true[0]), size=len(true[0]))
    m, g = _incidence(true[0], sets), true[1]
    with np.errstate(invalid="ignore"):
        noisy, plain = (
            _together(a, b) / (a.mean(0)[:, None] if of == "groups" else b.mean(0))
            for a, b in ((m[rows], g[rows]), (m, g))
        )
    return Amplification(sets, _sign(train, sets) * (noisy - plain))


def thresholds(scores: Float[np.ndarray, "n A"], true: Bool[np.ndarray, "n A"]) -> Float[np.ndarray, " A"]:
    """Find for each column the threshold that as many scores exceed as labels are true, as nearly as ties allow.

    >>> thresholds(np.array([[0.9], [0.4], [0.4], [0.1]]), np.array([[True], [False], [False], [False]])).tolist()
    [0.4]
    """
    found = np.empty(true.shape[1])
    for column, wanted in enumerate(true.sum(0)):
        possible = np.append(-np.inf, np.unique(scores[:, column]))
        counts = (scores[:, column] > possible[:, None]).sum(1)
        found[column] = possible[np.abs(counts - wanted).argmin()]
    return found


def _present(attributes: np.ndarray, s: tuple[int, ...]) -> Bool[np.ndarray, " n"]:
    return np.logical_and.reduce(attributes[:, list(s)], axis=1)


def _incidence(attributes: np.ndarray, sets: tuple[tuple[int, ...], ...]) -> Bool[np.ndarray, "n M"]:
    return np.stack([_present(attributes, s) for s in sets], 1)


def _together(m: Members, g: Members) -> Float[np.ndarray, "M G"]:
    """Compute the share of all images in which each set and each group occur together."""
    return m.T.astype(float) @ g / len(g)


def _sign(train: tuple[Members, Members], sets: tuple[tuple[int, ...], ...]) -> Float[np.ndarray, "M G"]:
    """Return 1 where training has a set and a group together more often than by chance, −1 where less often, else 0."""
    m, g = _incidence(train[0], sets), train[1]
    return np.sign(_together(m, g) - np.outer(m.mean(0), g.mean(0)))


def _share_of_groups(
    attributes: Members, groups: np.ndarray, sets: tuple[tuple[int, ...], ...]
) -> Float[np.ndarray, "M G"]:
    m = _incidence(attributes, sets)
    with np.errstate(invalid="ignore"):
        shares: np.ndarray = _together(m, groups) / m.mean(0)[:, None]
    return shares


def _check(attributes: np.ndarray, groups: np.ndarray) -> None:
    if len(attributes) != len(groups) or groups.ndim != 2 or groups.shape[1] < 2:
        raise ValueError(
            f"attributes and groups must be tables of the same images, with a column for each of two groups at least; "
            f"got {attributes.shape} and {groups.shape}"
        )


RESAMPLES = 20
"""Resamples of the test labels, for what noise alone amounts to."""
_KINDS = ("", "_signed", "_variance")


@final
class BiasAmplification(Task):
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
    mean of one component per example, which is its outcome.

    Args:
        groups: labels of which the first that the data has gives the groups.
        limit: training and validation rows at most, the same for every model and seed.
        more_than: a set counts if more training pictures show it and nothing else, and more test pictures show it.

    Raises:
        NotApplicable: if the data has none of the labels, or no other one.
        ValueError: if training or test shows one group only, or no attribute is frequent enough.

    Source: Zhao et al., "Men Also Do Laundry: Multi-Attribute Bias Amplification" (2022), arXiv 2210.11924.
    """

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

    def __call__(self, model: Embedder, data: PairedData, rows: Rows) -> Scores:
        group = check_labels(data, self.labels, self.name)[0]
        others = [name for name in data.labels if name != group]
        if not others:
            raise NotApplicable(f"{self.name} needs labels besides {group!r}, and {data.name!r} has none")
        labelled = data.labels[group].values >= 0
        test, train = rows[labelled[rows]], data.splits.train[labelled[data.splits.train]]
        check_rows(data, test, self.name, 2)
        for part, where in (("training", train), ("test", test)):
            if len(np.unique(data.labels[group].values[where])) < 2:
                raise ValueError(f"{self.name}: the {part} rows of {data.name!r} show one {group} only")

        every = [group, *others]
        truth = {
            name: (_one_hot(data.labels[name], train), _one_hot(data.labels[name], test)) for name in every
        }
        before = np.concatenate([truth[name][0] for name in others], 1), truth[group][0]
        after = np.concatenate([truth[name][1] for name in others], 1), truth[group][1]
        said = self._said(EmbeddingCache.of(model, data), data, every, train, test)
        predicted = {"groups": said[group], "attributes": np.concatenate([said[name] for name in others], 1)}

        names = [f"{label}: {name}" for label in others for name in data.labels[label].names]
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
        one = said[group].sum(1) == 1  # with thresholds a row may be said to be of several groups, or of none
        outcomes = {"predicted": np.where(one, said[group].argmax(1), np.nan)}
        metrics: dict[str, Metric] = {}
        for size, those in sets.items():
            for of, suffix in (("groups", ""), ("attributes", "_attributes")):
                # What is said of attributes, given a group, is not told group by group.
                apart = data.labels[group].names if of == "groups" else ()
                parts, chances = _parts(before, after, predicted[of], those, of, apart)
                for kind, component in parts.items():
                    name = f"{size}{suffix}{kind}"
                    outcomes[name] = component
                    metrics[name] = Metric(name, mean, higher_is_better=False, chance=chances[kind])
        return table(self.name, data.ids[test], ["all"] * len(test), outcomes, metrics)

    def _said(
        self,
        features: EmbeddingCache,
        data: PairedData,
        labels: Sequence[str],
        train: Int[np.ndarray, " m"],
        test: Rows,
    ) -> dict[str, Members]:
        """Return the classes of each label that the test rows are predicted to have."""
        learned = train[subsample_by_hash(data, train, self.limit, self.name)]
        validation = np.concatenate([np.zeros(0, np.int64), *data.splits.validation.values()])
        held = (
            validation[subsample_by_hash(data, validation, self.limit, self.name)]
            if len(validation)
            else learned
        )
        x, known, unknown = (features.images(part).numpy() for part in (learned, held, test))
        found = {}
        for name in labels:
            label = data.labels[name]
            classes, there = label.values[learned], label.values[held] >= 0
            if len(np.unique(classes[classes >= 0])) < 2 or not there.any():
                found[name] = np.zeros((len(test), len(label.names)), dtype=bool)
                continue
            of = class_probabilities(x[classes >= 0], classes[classes >= 0], len(label.names))
            bound = thresholds(of(known[there]), _one_hot(label, held[there]))
            found[name] = of(unknown) > bound
        return found


def _one_hot(label: Labels, rows: Rows) -> Members:
    return label.values[rows][:, None] == np.arange(len(label.names))


def _parts(
    before: tuple[Members, Members],
    after: tuple[Members, Members],
    predicted: Members,
    sets: tuple[tuple[int, ...], ...],
    of: str,
    groups: Sequence[str],
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The metrics of one direction, each as a component per test example whose mean it is, and their chance levels.

    A difference Δ(m, g) is the mean over examples of (predicted − true) · [given] / P(given); a metric is a sum of
    differences with weights that are fixed here.
    """
    if not sets:
        missing = {kind: np.full(len(predicted), np.nan) for kind in (*_KINDS, *(f"_{g}" for g in groups))}
        return missing, dict.fromkeys(missing, 0.0)
    signed = directional(before, after, predicted, sets, of=of).signed
    known, values, sign = ~np.isnan(signed), np.nan_to_num(signed), _sign(before, sets)
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

    m, g_ = _incidence(after[0], sets), after[1]
    given, other = (m, g_) if of == "groups" else (g_, m)
    share = given.mean(0)
    likely = np.divide(given, share, out=np.zeros(given.shape), where=share > 0)
    said = predicted if of == "groups" else _incidence(predicted, sets)
    wrong = said.astype(float) - other

    def component(w: Float[np.ndarray, "M G"]) -> Float[np.ndarray, " n"]:
        return (likely @ (w if of == "groups" else w.T) * wrong).sum(1)

    noise = [sampling_noise(before, after, sets, of=of, seed=seed) for seed in range(RESAMPLES)]
    chances = {"": float(np.mean([n.mean for n in noise])), "_signed": 0.0}
    chances["_variance"] = float(np.mean([n.variance for n in noise]))
    for g, name in enumerate(groups):
        chances[f"_{name}"] = float(np.mean([np.nanmean(np.abs(n.signed[:, g])) for n in noise]))
    return {kind: component(w * known) for kind, w in weights.items()}, chances
