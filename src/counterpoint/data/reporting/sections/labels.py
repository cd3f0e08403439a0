"""Labels: ways to classify the examples, and how evenly they do."""

from __future__ import annotations

from typing import ClassVar, final

import numpy as np

from ...listed.classes import MOST_CLASSES
from .._section import Finding, Findings, Section, percent
from .._seen import Seen

_UNEVEN = 0.5


@final
class Labels(Section):
    """The columns by which examples may be classified, and their balance."""

    order: ClassVar[int] = 50
    title: ClassVar[str] = "labels"

    def findings(self, seen: Seen) -> list[Finding]:
        found = Findings(seen)
        for name, values in sorted(seen.labels.items()):
            counts = (
                values.drop_nulls()
                .value_counts(sort=True, name="rows")
                .sort(["rows", values.name], descending=[True, False])
            )
            if not 2 <= len(counts) <= MOST_CLASSES:
                told = f"{len(counts):,} value{'' if len(counts) == 1 else 's'}: no classes (2 to {MOST_CLASSES})"
                found.add(name, told, {"values": len(counts)})
                continue
            sizes = counts["rows"].to_numpy()
            even = _evenness(sizes)
            without = values.null_count()
            told = f"{len(counts):,} classes of {sizes[-1]:,} to {sizes[0]:,} examples, evenness {even:.2f}"
            told += f"; {percent(without / len(values))} % have none" if without else ""
            held = {"classes": len(counts), "evenness": even, "without": without, "largest": int(sizes[0])}
            largest = [f"{label} {n:,}" for label, n in counts.head(3).iter_rows()]
            found.add(name, told, held, largest, warning=even < _UNEVEN)
        return found.listed


def _evenness(sizes: np.ndarray) -> float:
    """Return the entropy of classes as a share of what it would be if all were as large: 1 where they are.

    >>> _evenness(np.array([5, 5])), round(_evenness(np.array([99, 1])), 2)
    (1.0, 0.08)
    """
    shares = sizes / sizes.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(sizes)))
