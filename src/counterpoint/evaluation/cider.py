"""CIDEr-D: how much a text has in common with references, rare words counting most."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

LONGEST = 4
"""Words in an n-gram, at most."""
SIGMA = 6.0
"""Words by which a text may be longer or shorter than a reference before that costs it much."""

Ngrams = list[Counter[tuple[str, ...]]]


def cider(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Float[np.ndarray, " n"]:
    """Score each text from 0 to 10: the mean over n-gram lengths of the cosine of weighted counts, times 10.

    For an n-gram g, ``w_g = count · (log N − log max(1, documents with g))``, N the number of items whose references
    count as documents; ``Σ_g min(w_g(text), w_g(reference)) w_g(reference) / (|w(text)| |w(reference)|)`` times
    ``exp(−(difference in words)² / 2σ²)``, meant over references. Case and punctuation do not count.

    N-grams that all references share have no weight, so that with a single item, or the same reference for all,
    every text scores 0. A text that lacks n-grams of some length (it has fewer words) gets nothing for these, so a
    reference of fewer than four words never gives 10.

    Args:
        texts: a text for each item.
        references: of each item, at least one.

    Raises:
        ValueError: for an item without references, or as many items as texts do not belong to.

    Source: Vedantam et al., "CIDEr: Consensus-based Image Description Evaluation" (2014), arXiv 1411.5726.

    >>> cider(["A red cat on a box.", "Dogs."], [["a red cat on a box"], ["two blue birds in a tree"]]).round(2)
    array([10.,  0.])
    """
    if len(texts) != len(references):
        raise ValueError(
            f"{len(texts)} texts and references of {len(references)} items: give those of each text"
        )
    for number, of_item in enumerate(references):
        if not of_item:
            raise ValueError(f"references[{number}] is empty: an item needs at least one reference")
    known = [[_ngrams(reference) for reference in of_item] for of_item in references]
    documents: Counter[tuple[str, ...]] = Counter()
    for item in known:
        documents.update({gram for reference in item for counts in reference for gram in counts})
    rarity = {gram: math.log(len(known)) - math.log(count) for gram, count in documents.items()}
    unseen = math.log(max(len(known), 1))
    scores = [
        float(np.mean([_similarity(_ngrams(text), reference, rarity, unseen) for reference in of_item]))
        for text, of_item in zip(texts, known, strict=True)
    ]
    return 10 * np.array(scores, np.float64)


def _ngrams(text: str) -> Ngrams:
    words = re.findall(r"[\w']+", text.lower())
    return [
        Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))
        for n in range(1, LONGEST + 1)
    ]


def _similarity(
    candidate: Ngrams, reference: Ngrams, rarity: dict[tuple[str, ...], float], unseen: float
) -> float:
    total = 0.0
    for counts, other in zip(candidate, reference, strict=True):
        a = {gram: count * rarity.get(gram, unseen) for gram, count in counts.items()}
        b = {gram: count * rarity[gram] for gram, count in other.items()}
        norms = math.sqrt(sum(w * w for w in a.values()) * sum(w * w for w in b.values()))
        if norms > 0:
            total += sum(min(w, b[gram]) * b[gram] for gram, w in a.items() if gram in b) / norms
    gap = sum(candidate[0].values()) - sum(reference[0].values())
    return total / LONGEST * math.exp(-(gap**2) / (2 * SIGMA**2))
