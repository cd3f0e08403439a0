"""Any data whose labels are few, wrong or rare in training, as follows from the ids of items; tests have them all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int, Shaped
from scipy.spatial.distance import cdist

from ...reasons import counted
from ..base import Data, Rows, Splits
from ..fingerprint import Fingerprint, bytes_of, digest
from ..labels import Label
from ..pictures.thumbnails import thumbnails
from ..views.keys import key, uniform
from ._derived import DerivedData
from .labelling import Labelling

Encode = Callable[[Data, Rows], Float[np.ndarray, "n d"]]
"""Features of some rows of data, by which classes are near each other."""

_ROWS = 100
"""Rows of a class, at most, that its mean is made of."""


@final
class RelabelledData(DerivedData):
    """Data whose rows to train on show their label, another one, or none, or have left; all other rows are as they are.

    In this order: classes are thinned, all but a share of the rows hide their label, and of those that show it a share
    shows another class, or a share of the tags that apply is missing. Each draws by the ids of items, so that a larger
    share holds the smaller ones, and neither the order of the rows nor the seed of a run counts. Rows that a validation
    or test set holds too are not touched.

    Args:
        data: all of it.
        labelling: which label, and what is wrong with it.
        encode: features in which similar classes are near; small pictures unless given.

    Attributes:
        wrong, hidden, removed: the rows to train on that show another class than the true one, or lack tags; that show
            nothing though they have a label; and that have left training.

    Raises:
        UnknownNameError: for a label that the data does not have.
        LabelTypeError: for noise or a ratio of a label that is no classes, and missing tags of one that is no tags.
        ValueError: for a ratio that leaves a class empty; for noise or a ratio on fewer than two classes; for similar
            classes of data without pictures, where no encoder is given; and for a ratio on data that lies in shards, of
            which every row is trained on.

    Source: for symmetric noise and the share of each class that is thinned, the protocols of Zhang et al.,
    "Understanding Deep Learning Requires Rethinking Generalization" (2017), arXiv 1611.03530, and of Cui et al.,
    "Class-Balanced Loss Based on Effective Number of Samples" (2019), arXiv 1901.05555.
    """

    part: ClassVar[str] = "labelling"

    def __init__(self, data: Data, labelling: Labelling, encode: Encode | None = None) -> None:
        super().__init__(data, data.name)
        if len(data.shards) and labelling.imbalance is not None:
            raise ValueError(
                f"labels {labelling.label}: {data.name!r} lies in shards, of which every row is trained on: leave "
                "imbalance out, or open a part of it as files"
            )
        self.labelling, self.learned = labelling, labelling.label
        self._label = data.label(labelling.label, *labelling.kinds)
        held = np.concatenate([np.arange(0), *data.splits.validation.values(), *data.splits.test.values()])
        rows = data.splits.train[~np.isin(data.splits.train, held)]
        known = rows[self._label.known[rows]]
        there = np.unique(self.true[known]) if self._label.kind == "classes" else np.arange(0)
        if len(there) < 2 and (labelling.noise or labelling.imbalance is not None):
            raise ValueError(
                f"labels {labelling.label}: noise and imbalance need two classes, and the rows to train on of "
                f"{data.name!r} have {len(there)}"
            )
        self.removed, known = parted(known, self._stay(known))
        self.hidden, known = parted(known, self._show(known))
        self._values = np.array(self.true)
        self._values[self.hidden] = np.nan if np.issubdtype(self.true.dtype, np.floating) else -1
        if labelling.noise:
            order = ranks_within(np.zeros_like(known), self._draws(known, "noise"))
            noisy = known[order < round(labelling.noise * len(known))]
            self._values[noisy] = self._others(noisy, there, encode)
        if labelling.missing:
            self._values[known] = self._fewer_tags(known)
        differs = self._values[known] != self.true[known]
        self.wrong = known[differs if differs.ndim == 1 else differs.any(1)]
        self.splits = without_rows(data.splits, self.removed)
        self.changes = (labelling.in_words, digest(map(bytes_of, (self._values, np.sort(self.removed)))))

    @property
    def true(self) -> Shaped[np.ndarray, "N ..."]:
        """The true label of every row, as of `counterpoint.data.labels.Label.values`."""
        return self._label.values

    def _draws(self, rows: Rows, purpose: str) -> Float[np.ndarray, " n"]:
        """Return a number of each row between 0 and 1, of its item's id alone."""
        return uniform(key(0, 0, self.ids[rows], f"labels {self.learned}"), purpose)[:, 0]

    def _stay(self, rows: Rows) -> Bool[np.ndarray, " n"]:
        """Return which rows stay in training: of the k-th largest of C classes n·ρ^(−k/(C−1)).

        n is the largest number for which every class has as many; all stay where no ratio ρ is asked for.
        """
        ratio = self.labelling.imbalance
        if ratio is None:
            return np.ones(len(rows), dtype=bool)
        classes = self.true[rows]
        counts = np.bincount(classes)
        order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        falls = np.arange(len(order)) / (len(order) - 1)
        largest = (counts[order] * ratio**falls).min()
        if largest < ratio:
            most = (counts[order[:-1]] ** (1 / (1 - falls[:-1]))).min()
            names = self._label.names
            raise ValueError(
                f"labels {self.learned}: imbalance={ratio:g} leaves no row of {names[order[-1]]}, as the class has "
                f"{counted(int(counts[order[-1]]), 'row')} to train on and {names[order[0]]} {counts[order[0]]:,}; at "
                f"most {math.floor(most)} can be had"
            )
        quotas = np.zeros_like(counts)
        quotas[order] = np.round(largest * ratio**-falls)
        return ranks_within(classes, self._draws(rows, "thinned")) < quotas[classes]

    def _show(self, rows: Rows) -> Bool[np.ndarray, " n"]:
        """Return which rows show their label: a share of each class; of other labels of all, and a row of each tag."""
        share, draws = self.labelling.share, self._draws(rows, "shown")
        groups = self.true[rows] if self._label.kind == "classes" else np.zeros_like(rows)
        quotas = np.maximum(np.round(share * np.bincount(groups, minlength=1)), 1)
        show = ranks_within(groups, draws) < quotas[groups]
        if self._label.kind == "tags":
            applies = self.true[rows] == 1
            show[np.where(applies, draws[:, None], np.inf).argmin(0)[applies.any(0)]] = True
        return show

    def _fewer_tags(self, rows: Rows) -> Int[np.ndarray, "n tags"]:
        """Return the tags of rows without a share of those that apply, tag by tag, of which one at least is left.

        One that is missing seems not to apply, as where nobody thought of it.
        """
        values = self.true[rows].copy()
        for number, tag in enumerate(self._label.names):
            (applies,) = np.nonzero(values[:, number] == 1)
            order = ranks_within(np.zeros_like(applies), self._draws(rows[applies], f"missing {tag}"))
            values[
                applies[order < min(round(self.labelling.missing * len(applies)), len(applies) - 1)], number
            ] = 0
        return values

    def _others(
        self, rows: Rows, classes: Int[np.ndarray, " c"], encode: Encode | None
    ) -> Int[np.ndarray, " n"]:
        """Return which other class of those that there are each of some rows shows."""
        true = np.searchsorted(classes, self.true[rows])
        if self.labelling.kind == "similar":
            return classes[self._nearest(classes, encode or thumbnails)[true]]
        further = 1 + np.floor(self._draws(rows, "class") * (len(classes) - 1)).astype(np.int64)
        return classes[(true + further) % len(classes)]

    def _nearest(self, classes: Int[np.ndarray, " c"], encode: Encode) -> Int[np.ndarray, " c"]:
        """Return the place of the class whose mean is nearest to that of each class."""
        train = self.data.splits.train
        train = train[np.isin(self.true[train], classes)]
        train = train[ranks_within(self.true[train], self._draws(train, "mean")) < _ROWS]
        features = encode(self.data, train)
        means = np.stack([features[self.true[train] == one].mean(0) for one in classes])
        distances = cdist(means, means)
        np.fill_diagonal(distances, np.inf)
        return distances.argmin(1)

    @cached_property
    def labels(self) -> Mapping[str, Label]:
        return {**self.data.labels, self.learned: replace(self._label, values=self._values)}

    @cached_property
    def fingerprint(self) -> Fingerprint:
        whole = super().fingerprint
        if not len(whole.rows):
            return whole
        gone = np.isin(np.arange(len(self)), self.removed)
        split = pl.when(pl.Series(gone)).then(pl.lit("")).otherwise(pl.col("split")).alias("split")
        return replace(whole, rows=whole.rows.with_columns(split))

    def _became(self) -> Shaped[np.ndarray, "N _"]:
        return self._values.reshape(len(self), -1)

    def examples(self) -> Mapping[str, Any]:
        return self.data.examples() if len(self.shards) else super().examples()

    def describe(self) -> dict[str, dict[str, Any]]:
        return super().describe() | {"labels to train on": {self.learned: self._summary()}}

    def findings(self) -> Mapping[str, str]:
        return {**self.data.findings(), "labels": f"{self.learned}: {self._summary()}"}

    def _summary(self) -> str:
        train = self.splits.train
        shown = int(self.labels[self.learned].known[train].sum())
        parts = [f"{shown:,} of {counted(len(train), 'row')} to train on show their {self._label.kind}"]
        lacking = "without some" if self._label.kind == "tags" else "a wrong one"
        parts += [f"{len(self.wrong):,} of them {lacking}"] * bool(len(self.wrong))
        parts += [f"{counted(len(self.removed), 'row')} left training"] * bool(len(self.removed))
        return ", ".join(parts)


def ranks_within(classes: Int[np.ndarray, " n"], draws: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return each row's place among the rows of its class, by their draws.

    >>> ranks_within(np.array([1, 0, 1, 1]), np.array([0.5, 0.9, 0.1, 0.7])).tolist()
    [1, 0, 0, 2]
    """
    order = np.lexsort((draws, classes))
    ranks = np.empty(len(classes), dtype=np.int64)
    ranks[order] = np.arange(len(classes)) - np.searchsorted(classes[order], classes[order])
    return ranks


def parted(rows: Rows, mask: Bool[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
    """Return the rows that are not kept, and those that are."""
    return rows[~mask], rows[mask]


def without_rows(splits: Splits, removed: Rows) -> Splits:
    """Return splits of which some rows have left training."""

    def left(rows: Rows) -> Int[np.ndarray, " left"]:
        return rows[~np.isin(rows, removed)]

    return replace(
        splits,
        train=left(splits.train),
        tasks=tuple(map(left, splits.tasks)),
        sources=tuple((left(rows), share) for rows, share in splits.sources),
    )
