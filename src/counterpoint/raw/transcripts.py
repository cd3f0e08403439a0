"""Transcripts: what is said in a clip, sentence by sentence, with the times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Sentence(NamedTuple):
    """A sentence and the time in which it is said.

    Attributes:
        start, end: in seconds from the beginning of the clip.
        text: what is said.
    """

    start: float
    end: float
    text: str


class Subtitles(NamedTuple):
    """The sentences of one clip; none for a clip in which nothing is said.

    Attributes:
        sentences: in the order of their starts. Their times may overlap, as two people may speak at once.
        seconds: the length of the clip.
    """

    sentences: tuple[Sentence, ...]
    seconds: float


def check_transcripts(rows: object) -> list[Subtitles]:
    """Return transcripts that can be embedded.

    Raises:
        ValueError: for anything else, for none, for a sentence that ends before it starts or lies outside its clip,
            and for sentences that are not in the order of their starts.

    >>> check_transcripts([Subtitles((Sentence(4, 2, "a cat"),), 5)])
    Traceback (most recent call last):
    ...
    ValueError: sentence 0 of transcript 0 is said from 4 to 2 of 5 seconds: it must start before it ends, within them
    """
    if isinstance(rows, str | Subtitles) or not isinstance(rows, Sequence):
        raise ValueError(f"transcripts must be a list of cp.Subtitles, got {type(rows).__name__}")
    if not rows:
        raise ValueError("there is nothing to embed: the list of transcripts is empty")
    for number, row in enumerate(rows):
        if not isinstance(row, Subtitles) or not all(isinstance(it, Sentence) for it in row.sentences):
            raise ValueError(f"transcript {number} must be a cp.Subtitles of cp.Sentence")
        for position, (start, end, _) in enumerate(row.sentences):
            if not 0 <= start < end <= row.seconds < math.inf:
                raise ValueError(
                    f"sentence {position} of transcript {number} is said from {start:g} to {end:g} of "
                    f"{row.seconds:g} seconds: it must start before it ends, within them"
                )
        starts = [it.start for it in row.sentences]
        if starts != sorted(starts):
            raise ValueError(f"the sentences of transcript {number} must be in the order of their starts")
    return list(rows)
