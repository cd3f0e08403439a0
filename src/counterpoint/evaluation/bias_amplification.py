"""Multi-attribute bias amplification: do predictions tie a group to sets of attributes more than the labels do?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

Members = Bool[np.ndarray, "_ _"]
"""Which attributes, or which groups (one), each image has."""


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


def attribute_sets(
    train: Bool[np.ndarray, "n A"], test: Bool[np.ndarray, "m A"], *, least: int = 1, more_than: int = 0
) -> tuple[tuple[int, ...], ...]:
    """The sets of at least ``least`` attributes that are all that more than ``more_than`` training images have.

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
    """Extends MALS: how often a group goes with a set, where it does so more often than 1/groups in training.

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
    """What is predicted beyond what is true, given the other side, with the sign of the correlation in training.

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


def calibrated(scores: Float[np.ndarray, "n A"], true: Bool[np.ndarray, "n A"]) -> Bool[np.ndarray, "n A"]:
    """Predictions by a threshold per column, such that as many are positive as truly are, as nearly as ties allow.

    >>> calibrated(np.array([[0.9], [0.4], [0.4], [0.1]]), np.array([[True], [False], [False], [False]])).T.tolist()
    [[True, False, False, False]]
    """
    found = np.zeros(true.shape, dtype=bool)
    for column, wanted in enumerate(true.sum(0)):
        thresholds = np.append(-np.inf, np.unique(scores[:, column]))
        counts = (scores[:, column] > thresholds[:, None]).sum(1)
        found[:, column] = scores[:, column] > thresholds[np.abs(counts - wanted).argmin()]
    return found


def _present(attributes: np.ndarray, s: tuple[int, ...]) -> Bool[np.ndarray, " n"]:
    present: np.ndarray = np.logical_and.reduce(attributes[:, list(s)], axis=1)
    return present


def _incidence(attributes: np.ndarray, sets: tuple[tuple[int, ...], ...]) -> Bool[np.ndarray, "n M"]:
    return np.stack([_present(attributes, s) for s in sets], 1)


def _together(m: Members, g: Members) -> Float[np.ndarray, "M G"]:
    """How often each set and each group occur together, of all images."""
    shares: np.ndarray = m.T.astype(float) @ g / len(g)
    return shares


def _sign(train: tuple[Members, Members], sets: tuple[tuple[int, ...], ...]) -> Float[np.ndarray, "M G"]:
    """Whether a set and a group go together more or less often in training than by chance."""
    m, g = _incidence(train[0], sets), train[1]
    sign: np.ndarray = np.sign(_together(m, g) - np.outer(m.mean(0), g.mean(0)))
    return sign


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
