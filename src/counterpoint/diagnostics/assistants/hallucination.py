"""Detection of hallucinated statements by a score, kind by kind, and the layers that detect best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

PAPERS = {"contextual-lens": ("best_layers",)}


@dataclass(frozen=True)
class Detection:
    """The quality of the detection of hallucinations.

    Attributes:
        auroc: the share of pairs of a supported and a hallucinated statement of which the first scores higher.
        average_precision: of hallucinations, ranked from the lowest score.
        hallucinated, supported: how many there are.
    """

    auroc: float
    average_precision: float
    hallucinated: int
    supported: int


def detection(
    scores: Float[np.ndarray, " n"], supported: Bool[np.ndarray, " n"], kinds: Sequence[str] = ()
) -> Mapping[str, Detection]:
    """Return detection by kind, and of ``"all"``; NaN where one of the two is missing.

    Args:
        scores: high for what is supported.
        supported: the truth.
        kinds: of each statement (``"colour"``, ``"count"``), for a breakdown.

    Raises:
        ValueError: for lengths that differ or scores that are not finite.

    >>> found = detection(np.array([0.9, 0.2, 0.8, 0.1]), np.array([True, True, False, False]))["all"]
    >>> found.auroc, round(found.average_precision, 3)
    (0.75, 0.833)
    """
    if len({len(scores), len(supported), len(kinds) or len(scores)}) > 1 or not np.isfinite(scores).all():
        raise ValueError(
            f"scores must be finite, and as many as truths and kinds; got {len(scores)}, {len(supported)}, {len(kinds)}"
        )
    named = np.array(list(kinds) or [""] * len(scores), dtype=object)
    by_kind = {"all": _detection(scores, supported)}
    for kind in dict.fromkeys(kinds):
        of_kind = named == kind
        by_kind[kind] = _detection(scores[of_kind], supported[of_kind])
    return by_kind


def _detection(scores: np.ndarray, supported: np.ndarray) -> Detection:
    from sklearn.metrics import average_precision_score, roc_auc_score

    right, wrong = int(supported.sum()), int((~supported).sum())
    if not right or not wrong:
        return Detection(float("nan"), float("nan"), wrong, right)
    return Detection(
        float(roc_auc_score(supported, scores)),
        float(average_precision_score(~supported, -scores)),
        wrong,
        right,
    )


def best_layers(
    scores: Float[np.ndarray, " n *layers"], supported: Bool[np.ndarray, " n"], kinds: Sequence[str] = ()
) -> tuple[int, ...]:
    """Return the layers whose AUROC, averaged over kinds, is highest; the first of equals.

    Choose them on a validation split and keep them: chosen on the test set, they flatter themselves.

    Args:
        scores: of each statement by layer, or by layer of the places and layer of the words.
        supported, kinds: as in `detection`; kinds with only one of the two are left out.

    Raises:
        ValueError: if no kind has both.
    """
    named = np.array(list(kinds) or [""] * len(scores), dtype=object)
    parts = [named == kind for kind in dict.fromkeys(named)]
    parts = [part for part in parts if 0 < supported[part].sum() < part.sum()]
    if not parts:
        raise ValueError("no kind has both supported and hallucinated statements to choose layers by")
    flat = scores.reshape(len(scores), -1)
    mean = [np.mean([_detection(column[part], supported[part]).auroc for part in parts]) for column in flat.T]
    return tuple(int(k) for k in np.unravel_index(int(np.argmax(mean)), scores.shape[1:]))
