"""Multi-attribute bias amplification: do predictions tie a group to sets of attributes more than the labels do?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

PAPERS = {"multi-attribute-bias-amplification": ("directional", "undirected", "sampling_noise")}

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
        """Return the sets and groups of the largest differences: ``attributes``, ``group``, ``difference``.

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
    m, g = incidence(true[0], sets), true[1]
    m_, g_ = (m, predicted) if of == "groups" else (incidence(predicted, sets), g)
    with np.errstate(invalid="ignore"):
        gap = (_together(m_, g_) - _together(m, g)) / (m.mean(0)[:, None] if of == "groups" else g.mean(0))
    return Amplification(sets, training_sign(train, sets) * gap)


def sampling_noise(
    train: tuple[Members, Members],
    true: tuple[Members, Members],
    sets: tuple[tuple[int, ...], ...],
    *,
    of: str,
    seed: int = 0,
) -> Amplification:
    """Return `directional` of a bootstrap resample of the true test labels as if it were predicted.

    Absolute differences are positive even where there is nothing but noise: what a model amplifies is to be
    compared with the ``mean`` of this.

    Args:
        train, true, sets, of: as for `directional`.
        seed: of the resample.
    """
    rows = np.random.default_rng(seed).integers(len(true[0]), size=len(true[0]))
    m, g = incidence(true[0], sets), true[1]
    with np.errstate(invalid="ignore"):
        noisy, plain = (
            _together(a, b) / (a.mean(0)[:, None] if of == "groups" else b.mean(0))
            for a, b in ((m[rows], g[rows]), (m, g))
        )
    return Amplification(sets, training_sign(train, sets) * (noisy - plain))


def thresholds(scores: Float[np.ndarray, "n A"], true: Bool[np.ndarray, "n A"]) -> Float[np.ndarray, " A"]:
    """Find for each column the threshold that as many scores exceed as labels are true, as nearly as ties allow.

    >>> thresholds(np.array([[0.9], [0.4], [0.4], [0.1]]), np.array([[True], [False], [False], [False]])).tolist()
    [0.4]
    """
    bounds = np.empty(true.shape[1])
    for column, wanted in enumerate(true.sum(0)):
        possible = np.append(-np.inf, np.unique(scores[:, column]))
        counts = (scores[:, column] > possible[:, None]).sum(1)
        bounds[column] = possible[np.abs(counts - wanted).argmin()]
    return bounds


def _present(attributes: np.ndarray, s: tuple[int, ...]) -> Bool[np.ndarray, " n"]:
    return np.logical_and.reduce(attributes[:, list(s)], axis=1)


def incidence(attributes: np.ndarray, sets: tuple[tuple[int, ...], ...]) -> Bool[np.ndarray, "n M"]:
    """Return which images have all attributes of each set."""
    return np.stack([_present(attributes, s) for s in sets], 1)


def _together(m: Members, g: Members) -> Float[np.ndarray, "M G"]:
    """Compute the share of all images in which each set and each group occur together."""
    return m.T.astype(float) @ g / len(g)


def training_sign(
    train: tuple[Members, Members], sets: tuple[tuple[int, ...], ...]
) -> Float[np.ndarray, "M G"]:
    """Return 1 where training has a set and a group together more often than by chance, −1 where less often, else 0."""
    m, g = incidence(train[0], sets), train[1]
    return np.sign(_together(m, g) - np.outer(m.mean(0), g.mean(0)))


def _share_of_groups(
    attributes: Members, groups: np.ndarray, sets: tuple[tuple[int, ...], ...]
) -> Float[np.ndarray, "M G"]:
    m = incidence(attributes, sets)
    with np.errstate(invalid="ignore"):
        shares: np.ndarray = _together(m, groups) / m.mean(0)[:, None]
    return shares


def _check(attributes: np.ndarray, groups: np.ndarray) -> None:
    if len(attributes) != len(groups) or groups.ndim != 2 or groups.shape[1] < 2:
        raise ValueError(
            f"attributes and groups must be tables of the same images, with a column for each of two groups at least; "
            f"got {attributes.shape} and {groups.shape}"
        )
