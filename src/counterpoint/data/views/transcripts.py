"""Views of transcripts: the words of each sentence perhaps edited, its times as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import UInt64
from torch import Tensor

from ...networks.base import Input
from ...raw import Sentence, Subtitles
from .captions import CaptionOptions, TextView, text
from .keys import uniform


@final
@dataclass(frozen=True)
class TranscriptView:
    """All sentences of each row, each changed by a key of its own that follows from the row's.

    Attributes:
        words: the view of the text of a sentence.
    """

    words: TextView

    def __call__(self, raw: Sequence[Subtitles], keys: UInt64[np.ndarray, " n"], input: Input) -> Tensor:
        """Return a tower's input of the changed transcripts.

        Raises:
            ValueError: if the keys are not one for each row.
        """
        if len(keys) != len(raw):
            raise ValueError(f"keys must be one per row: got {len(keys)} for {len(raw)} rows")
        counts = np.array([len(row.sentences) for row in raw], np.int64)
        draws = uniform(keys, "sentences", max([1, *counts.tolist()]))
        of_sentences = (2.0**53 * draws[np.arange(draws.shape[1]) < counts[:, None]]).astype(np.uint64)
        texts = iter(self.words.apply([[it.text] for row in raw for it in row.sentences], of_sentences))
        changed = [
            Subtitles(
                tuple(Sentence(start, end, next(texts)) for start, end, _ in row.sentences), row.seconds
            )
            for row in raw
        ]
        return input(changed)


def transcript(name: str, augmentation: CaptionOptions) -> TranscriptView:
    """Return a view of transcripts by its name.

    - ``plain``: the sentences as they are.
    - ``weak``, ``strong``, ``simclr``: each as the view of texts of that name changes it.

    Raises:
        UnknownNameError: for any other name.
    """
    return TranscriptView(text(name, augmentation))
