"""Worse replies: may the pairs be trusted?"""

from __future__ import annotations

from typing import ClassVar, final

import numpy as np

from .._pairs import ReplyPairs
from .._section import Finding, Findings, ReportSection, Share, percent
from .._seen import DataOverview

SEPARABLE, TIED, REFUSED, LONGER, WORSE = 0.8, 0.05, 0.2, 0.25, 0.8
"""Thresholds of warnings: the accuracy of a bag of words, shares of ties and of rows without a worse reply, the
difference in length as a share of the good reply's, and the least share of worse replies that are known to be worse."""
_FOLDS = 5


@final
class WorseReplies(ReportSection):
    """For each column of worse replies, what is missing, what words alone tell, and what the data knows of them."""

    order: ClassVar[int] = 25
    title: ClassVar[str] = "worse replies"

    def findings(self, seen: DataOverview) -> list[Finding]:
        findings = Findings(seen)
        for pairs in seen.pairs:
            name, count = pairs.column, len(pairs.good)
            findings.add(f"{name}: pairs", f"{count:,}", count)
            if pairs.lacking:
                share = Share(pairs.lacking, count + pairs.lacking)
                reasons = ", ".join(f"{number:,} {why}" for why, number in pairs.reasons.items())
                warns = pairs.lacking > REFUSED * (count + pairs.lacking)
                findings.add(
                    f"{name}: rows without one",
                    f"{share}{': ' if reasons else ''}{reasons}",
                    share.plain() | dict(pairs.reasons),
                    warning=warns,
                )
            if not count:
                continue
            ties = sum(a.strip() == b.strip() for a, b in zip(pairs.good, pairs.worse, strict=True))
            findings.count(f"{name}: equal to the good reply", ties, count, above=TIED)
            lengths = np.array([[len(text.split()) for text in side] for side in (pairs.good, pairs.worse)])
            good, worse = lengths.mean(1)
            warns = bool(abs(worse - good) > LONGER * max(good, 1))
            text = f"{worse:.1f}, of good replies {good:.1f}"
            text += "; the loss may learn length" if warns else ""
            findings.add(f"{name}: words", text, {"worse": float(worse), "good": float(good)}, warning=warns)
            if (told := told_by_words(pairs)) is not None:
                right = Share(round(told * count), count, sampled=True)
                low, high = right.interval
                text = f"tells {percent(told)} % of pairs ({percent(low)} to {percent(high)} %)"
                warns = told > SEPARABLE
                text += "; the loss may learn a phrase" if warns else ""
                findings.add(f"{name}: a bag of words", text, right.plain(), warning=warns)
            known = [it for it in pairs.known if it is not None]
            if known:
                share = Share(sum(known), len(known), sampled=True)
                few = sum(known) < WORSE * len(known)
                text = f"{share}, by the things that they mention"
                findings.add(f"{name}: known to be worse", text, share.plain(), warning=few)
        return findings.listed


def told_by_words(pairs: ReplyPairs) -> float | None:
    """Return how often a bag of words that learned from other pictures knows the good reply; a tie is half.

    None where there are fewer pictures than folds, or no words.
    """
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    if len({*pairs.pictures}) < _FOLDS:
        return None
    try:
        counts = CountVectorizer(token_pattern=r"\S+").fit_transform([*pairs.good, *pairs.worse])
    except ValueError:  # no words
        return None
    count = len(pairs.good)
    # Both orders of a pair, so that neither side is known by its place.
    difference = counts[:count] - counts[count:]
    right = np.zeros(count)
    for train, test in GroupKFold(_FOLDS).split(np.zeros(count), groups=pairs.pictures):
        model = LogisticRegression(fit_intercept=False, max_iter=1000)
        model.fit(vstack([difference[train], -difference[train]]), np.repeat([1, 0], len(train)))
        right[test] = 0.5 * (1 + np.sign(difference[test] @ model.coef_[0]))
    return float(right.mean())
