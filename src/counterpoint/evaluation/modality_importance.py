"""The help of each modality in answering a question, over the others."""

from __future__ import annotations

from collections.abc import Mapping, Set
from itertools import combinations, product
from typing import Final

import numpy as np
from jaxtyping import Float

PAPERS = {"modality-importance-score": ("modality_importance", "question_types", "guessing")}

Answers = Mapping[frozenset[str], np.ndarray]
"""Answers by the modalities shown: how well each question was answered ``(n,)``, 0 or 1, or a probability."""

COMPLEMENTARY: Final = "complementary"
CORRECT: Final = "agnostic, correct"
INCORRECT: Final = "agnostic, incorrect"
OTHER: Final = "none"


def modality_importance(answers: Answers) -> dict[str, Float[np.ndarray, " n"]]:
    """Return the modality importance score of each question and modality, in [−1, 1].

        MIS_j = mean of a_S over S ∋ j, |S| ≥ 2  −  mean of a_S over non-empty S ∌ j

    Positive: it carries what the others do not; 0: it adds nothing, which it may share with them; negative: it
    misleads. With two modalities these are leave-one-out differences, a_VT − a_T and a_VT − a_V.

    >>> v, t = frozenset({"video"}), frozenset({"text"})
    >>> right = {v: np.array([1.0]), t: np.array([0.0]), v | t: np.array([1.0])}
    >>> {name: float(score[0]) for name, score in modality_importance(right).items()}
    {'text': 0.0, 'video': 1.0}

    Args:
        answers: for every non-empty set of the modalities; the empty set may be there and is not used.

    Raises:
        ValueError: for fewer than two modalities, a set that is missing, or arrays of different lengths.

    Source: Park et al., "Assessing Modality Bias in Video Question Answering Benchmarks with Multimodal Large
    Language Models" (2024), arXiv 2408.12763.
    """
    names = _checked(answers)
    sets = _subsets(names)
    return {
        name: np.mean([answers[s] for s in sets if name in s and len(s) > 1], axis=0)
        - np.mean([answers[s] for s in sets if name not in s], axis=0)
        for name in names
    }


def question_types(answers: Answers, tolerance: float = 0.0) -> np.ndarray:
    """Return what each question needs, in words.

    ``"video-biased"`` where no other modality adds anything and this one does not mislead, and the two differ;
    ``"complementary"`` where every modality adds something; ``"agnostic, correct"`` or ``"agnostic, incorrect"`` where
    none does; ``"none"`` for the rest, where modalities mislead each other.

    Args:
        answers: as for `modality_importance`.
        tolerance: scores this close to 0 are 0; choose one for probabilities.
    """
    scores = modality_importance(answers)
    names = list(scores)
    table = np.stack([np.where(np.abs(scores[name]) <= tolerance, 0.0, scores[name]) for name in names], 1)
    shown = np.stack([answers[s] for s in _subsets(names)], 1)
    types = np.full(len(table), OTHER, dtype=object)
    for j, name in enumerate(names):
        others = np.delete(table, j, axis=1)
        of_modality = table[:, j]
        types[(of_modality >= 0) & (others <= 0).all(1) & (others != of_modality[:, None]).all(1)] = (
            f"{name}-biased"
        )
    types[(table > 0).all(1)] = COMPLEMENTARY
    agnostic = (table == 0).all(1)
    types[agnostic & (shown >= 1 - tolerance).all(1)] = CORRECT
    types[agnostic & (shown <= tolerance).all(1)] = INCORRECT
    return types.astype(str)


def guessing(modalities: Set[str], options: int) -> dict[str, float]:
    """Compute how often each type comes out where every answer is an independent guess among ``options``.

    >>> round(guessing({"video", "text"}, 5)["complementary"], 3)
    0.128

    Raises:
        ValueError: for fewer than two modalities or options.
    """
    if options < 2:
        raise ValueError(f"a guess is among two options at least, got {options}")
    sets = _subsets(sorted(modalities))
    outcomes = np.array(list(product([0.0, 1.0], repeat=len(sets))))
    types = question_types({s: outcomes[:, k] for k, s in enumerate(sets)})
    right = outcomes.sum(1)
    weights = (1 / options) ** right * (1 - 1 / options) ** (len(sets) - right)
    return {str(name): float(weights[types == name].sum()) for name in np.unique(types)}


def _subsets(names: list[str]) -> list[frozenset[str]]:
    return [frozenset(c) for size in range(1, len(names) + 1) for c in combinations(names, size)]


def _checked(answers: Answers) -> list[str]:
    names = sorted({name for s in answers for name in s})
    if len(names) < 2:
        raise ValueError(f"importance is over other modalities: two at least, got {names}")
    missing = [" + ".join(sorted(s)) for s in _subsets(names) if s not in answers]
    if missing:
        raise ValueError(
            f"answers are missing for {', '.join(missing)}: ask with every set of {', '.join(names)}"
        )
    if len({len(a) for a in answers.values()}) > 1:
        raise ValueError("every set of modalities must have answered the same questions")
    return names
