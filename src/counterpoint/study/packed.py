"""Outcomes of runs of earlier versions, which held two numbers of an example in one, read as the columns of today."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

_Packed = Float[np.ndarray, " n"]
_Columns = tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]


def _class_and_hit(values: _Packed) -> _Columns:
    """Take ``class + hit / 2`` apart."""
    return np.floor(values), 2 * (values - np.floor(values))


def _level_and_score(values: _Packed) -> _Columns:
    """Take ``level + score / 2`` apart; rounded, as equal scores lost different digits beside different levels."""
    return np.floor(values), 2 * np.round(values - np.floor(values), 12)


def _true_and_predicted(values: _Packed) -> _Columns:
    """Take ``true + predicted / 64`` apart."""
    return np.floor(values), np.rint(64 * (values - np.floor(values)))


def _whole_and_part(values: _Packed) -> _Columns:
    """Take ``whole + part / 1024`` apart."""
    return np.floor(values), 1024 * (values - np.floor(values))


def _confidence_and_hit(values: _Packed) -> _Columns:
    """Take ``confidence + 2 · hit`` apart."""
    hits = (values >= 2).astype(float)
    return np.clip(values - 2 * hits, 0, 1), hits


_PACKINGS: Mapping[str, Callable[[_Packed], _Columns]] = {
    "mean_per_class": _class_and_hit,
    "spearman": _level_and_score,
    "pearson": _class_and_hit,
    **dict.fromkeys(("macro_f1", "weighted_f1", "precision", "recall", "f1"), _true_and_predicted),
    "share": _whole_and_part,
    "calibration_error": _confidence_and_hit,
}


def unpacked(statistic: str, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n ..."]:
    """Return the outcomes of a metric as its statistic takes them: two columns of one, where they were packed.

    >>> unpacked("f1", np.array([1 + 1 / 64, 1.0])).tolist()
    [[1.0, 1.0], [1.0, 0.0]]
    """
    return np.stack(_PACKINGS[statistic](values), 1) if statistic in _PACKINGS else values
