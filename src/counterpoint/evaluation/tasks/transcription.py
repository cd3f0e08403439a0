"""Writing down what is said: the share of characters and of words that are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from ...data.base import Data, Rows
from ...data.embeddings import uncached
from ...types import Embedder, Metric, Scores, Transcriber
from ..statistic import error_rate
from ..task import EmbedderTask, NotApplicableError, captions_of, check_columns, check_rows, scatter, scores

BATCH = 64
"""Sounds that are transcribed at once."""


@final
class Transcription(EmbedderTask):
    """Speech written down, and compared with what was said.

    ``cer`` and ``wer`` are the edits (insertions, deletions, exchanges) of characters and of words over the number of
    those that were said, summed over the test set; both may exceed 1, and 1 is what writing nothing scores. Letters are
    small, and spaces single, on both sides. A row without speech or without text has no outcome. Of several texts, the
    one with the lowest rate of character edits counts.

    Raises:
        NotApplicableError: for a model that does not transcribe, or where no row has both.
        ValueError: for no rows.
    """

    family = "speech"
    name = "transcription"
    primary = "cer"
    modalities = ("audio",)
    reads = ("audio", "text")
    papers = ("best-alignment-speech-text",)

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        check_columns(self, data)
        self.check_model(model, data)
        transcriber: Any = uncached(model)
        kept = np.flatnonzero(data.present("audio", rows) & data.present("text", rows))
        if not len(kept):
            raise NotApplicableError(
                f"{self.name} asks about speech with text, and no test row of {data.name!r} has both"
            )
        written: list[str] = []
        for part in np.split(rows[kept], range(BATCH, len(kept), BATCH)):
            written += transcriber.transcribe(data.read("audio", part))
        counted = [
            min((_errors(text, one) for one in texts), key=_rate)
            for text, texts in zip(written, captions_of(data, rows[kept]), strict=True)
        ]
        outcomes = {
            name: scatter(np.array(values, float), kept, len(rows))
            for name, values in zip(_OUTCOMES, zip(*counted, strict=True), strict=True)
        }
        edits, characters, word_edits, words = _OUTCOMES
        metrics = {
            "cer": Metric((edits, characters), error_rate, higher_is_better=False),
            "wer": Metric((word_edits, words), error_rate, higher_is_better=False),
        }
        return scores(self.name, data, rows, outcomes, metrics)

    def check_model(self, model: Any, data: Any) -> None:
        if not isinstance(uncached(model), Transcriber):
            raise NotApplicableError(
                f"{self.name} asks models that transcribe speech, as best-alignment does: leave the task out"
            )


_OUTCOMES = ("character edits", "characters", "word edits", "words")


def edits(hypothesis: Sequence[str], reference: Sequence[str]) -> int:
    """Return the fewest insertions, deletions and exchanges that make one sequence the other.

    >>> edits("kitten", "sitting"), edits("a red cat".split(), "a cat".split())
    (3, 1)
    """
    row = list(range(len(reference) + 1))
    for index, one in enumerate(hypothesis, 1):
        before, row[0] = row[0], index
        for k, other in enumerate(reference, 1):
            before, row[k] = row[k], min(row[k] + 1, row[k - 1] + 1, before + (one != other))
    return row[-1]


def _errors(hypothesis: str, reference: str) -> tuple[int, int, int, int]:
    one, other = (" ".join(text.lower().split()) for text in (hypothesis, reference))
    return edits(one, other), len(other), edits(one.split(), other.split()), len(other.split())


def _rate(errors: tuple[int, int, int, int]) -> tuple[float, int]:
    """Return by what the nearest of several texts is chosen: edits a character, and the longest of equal ones."""
    edited, characters, *_ = errors
    return edited / max(characters, 1), -characters
