"""The sentences that a model gives for a picture, beside those of the picture's reports."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from ...data.base import Data, Rows
from ...data.embeddings import uncached
from ...data.views.captions import split_sentences
from ...types import Embedder, Metric, NamesSentences, Scores
from ..statistic import mean
from ..task import EmbedderTask, NotApplicableError, captions_of, check_columns, check_rows, scatter, scores

BATCH = 64
"""Pictures that are asked about at once."""


@final
class SentenceNaming(EmbedderTask):
    """Which of all sentences of the test texts does a model give for a picture, in whatever order?

    Of each picture ``recall`` is the share of its sentences that are given, ``precision`` the share of the given ones
    that are its own, 0 where none is given, and ``f1`` their harmonic mean. The sentences of a picture are those of all
    its texts. The best constant answer for ``recall`` is 1, that of giving every sentence; chance is not defined.

    Raises:
        NotApplicableError: for a model that gives no sentences, or where no row has both a picture and a text.
        ValueError: for no rows.

    Source: Cheng et al. (2023), arXiv 2307.12577, for the reports as sets; the metric is not the paper's.
    """

    family = "captioning"
    name = "sentences"
    primary = "f1"
    modalities = ("image",)
    papers = ("prior",)

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        check_columns(self, data)
        self.check_model(model, data)
        namer: Any = uncached(model)
        kept = np.flatnonzero(data.present("image", rows) & data.present("text", rows))
        if not len(kept):
            raise NotApplicableError(
                f"{self.name} asks about pictures with texts, and no test row of {data.name!r} has both"
            )
        true = [
            {sentence for text in texts for sentence in split_sentences(text)}
            for texts in captions_of(data, rows[kept])
        ]
        known = sorted(set().union(*true))
        given: list[set[str]] = []
        for part in np.split(rows[kept], range(BATCH, len(kept), BATCH)):
            named = namer.name_sentences(data.read("image", part), known)
            given += [{known[number] for number in of_one} for of_one in named]
        counts = np.array(
            [(len(own & said), len(own), len(said)) for own, said in zip(true, given, strict=True)], float
        )
        shared, own, said = counts.T
        values = {
            "f1": 2 * shared / np.maximum(own + said, 1),
            "recall": shared / np.maximum(own, 1),
            "precision": shared / np.maximum(said, 1),
        }
        outcomes = {name: scatter(of_rows, kept, len(rows)) for name, of_rows in values.items()}
        return scores(self.name, data, rows, outcomes, {name: Metric(name, mean) for name in values})

    def check_model(self, model: Any, data: Any) -> None:
        if not self.can_ask(model):
            raise NotApplicableError(
                f"{self.name} asks models that name the sentences of a picture, as prior does: leave the task out"
            )

    def can_ask(self, model: Any) -> bool:
        return isinstance(uncached(model), NamesSentences)
