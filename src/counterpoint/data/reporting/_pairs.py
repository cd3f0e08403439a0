"""Pairs of a good reply and a worse one, as a report looks at them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from ..base import Data
from ..items import ObjectAnnotations
from ..sources import Records

_MOST = 4_000


@final
@dataclass(frozen=True)
class ReplyPairs:
    """The pairs of one column of worse replies.

    Attributes:
        column: of the worse replies.
        pictures: what tells the picture of each pair from others.
        good, worse: the replies.
        known: of each pair, whether the worse reply is worse by what the picture shows; None where that is not known.
        lacking: rows with a good reply and no worse one.
        reasons: why, as far as it is known.
    """

    column: str
    pictures: Sequence[str]
    good: Sequence[str]
    worse: Sequence[str]
    known: Sequence[bool | None]
    lacking: int
    reasons: Mapping[str, int] = field(default_factory=dict)


def pairs_in_data(data: Data) -> tuple[ReplyPairs, ...]:
    """Return the pairs of the first rows to train on, for each column of worse replies."""
    first, *others = [column for column, modality in data.columns.items() if modality == "talk"] or [""]
    made = []
    for column in others:
        rows = data.splits.train
        rows = rows[data.present(first, rows)]
        having = data.present(column, rows)
        used = rows[having][:_MOST]
        good, worse = (
            [row[0].reply for row in data.read(name, used)] if len(used) else [] for name in (first, column)
        )
        reasons = getattr(data, "reasons", {}).get(column, {})
        known = _known(data, used, good, worse)
        made.append(
            ReplyPairs(column, list(map(str, used)), good, worse, known, int((~having).sum()), reasons)
        )
    return tuple(made)


def pairs_in_records(records: Records, columns: Mapping[str, str]) -> tuple[ReplyPairs, ...]:
    """Return the pairs of a user's own table."""
    first, *others = [column for column, modality in columns.items() if modality == "talk"] or [""]
    pictures = next((column for column, modality in columns.items() if modality == "image"), "key")
    made = []
    for column in others:
        both = records.having(first) & records.having(column)
        frame = records.frame.filter(both).head(_MOST)
        good, worse = ([texts[1] for texts in frame[name].to_list()] for name in (first, column))
        lacking = int((records.having(first) & ~records.having(column)).sum())
        shown = list(map(str, frame[pictures].to_list()))
        made.append(ReplyPairs(column, shown, good, worse, [None] * len(good), lacking))
    return tuple(made)


def _known(data: Data, rows: np.ndarray, good: Sequence[str], worse: Sequence[str]) -> list[bool | None]:
    """Return which worse replies mention more of what is not there, or less of what is."""
    try:
        items = data.items(ObjectAnnotations, rows)
    except LookupError:
        return [None] * len(rows)
    if len(items) != len(rows):
        return [None] * len(rows)
    concepts = {word.lower(): concept for concept, words in items.forms.items() for word in words}
    longest = sorted(concepts, key=len, reverse=True)
    words = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)")
    known: list[bool | None] = []
    for present, better, other in zip(items.present, good, worse, strict=True):
        mentions = [{concepts[word] for word in words.findall(text.lower())} for text in (better, other)]
        absent, there = ([len(m - present) for m in mentions], [len(m & present) for m in mentions])
        known.append(absent[1] > absent[0] or there[1] < there[0])
    return known
