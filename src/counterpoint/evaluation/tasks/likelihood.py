"""How likely a model that reads pictures finds the true replies."""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np
import torch

from ...data.base import Data, Rows
from ...data.embeddings import uncached
from ...types import Embedder, Metric, Scores, Speaking
from ..statistic import error_rate
from ..task import EmbedderTask, NotApplicableError, check_columns, check_rows, scatter, scores

_NATS = (0.0, math.inf)
BATCH = 64
"""Rows whose replies are judged at once."""


@final
class Likelihood(EmbedderTask):
    """The negative log-likelihood of true replies to requests about a picture, in nats a word.

    ``nats`` is the sum over all replies of the test set, the end of each reply included, divided by the number of their
    words, so that models with different tokens can be compared. ``blind_nats`` is the same without the picture. Where
    the data knows what a word speaks of, there is a metric for each kind of word: ``thing_nats``, and so for
    ``colour``, ``number``, ``size``, ``place`` and ``filler``. Words that the model's context cuts off do not count.

    Raises:
        NotApplicableError: for a model that writes no replies, or where no row has a picture and a conversation.
        ValueError: for no rows.
    """

    family = "answering"
    name = "likelihood"
    primary = "nats"
    modalities = ("image",)
    reads = ("image", "talk")

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        check_columns(self, data)
        self.check_model(model, data)
        speaking: Any = uncached(model)
        shown = [column for column in speaking.pictures if column in data.columns]
        if len(shown) < len(speaking.pictures):
            raise NotApplicableError(
                f"{self.name} asks about {' and '.join(speaking.pictures)}, and {data.name!r} has "
                f"{' and '.join(shown) or 'neither'}"
            )
        there = [data.present(column, rows) for column in (*shown, "talk")]
        used = np.flatnonzero(np.logical_and.reduce(there))
        if not len(used):
            raise NotApplicableError(
                f"{self.name} asks about pictures with conversations, and no test row of {data.name!r} has both"
            )
        sums: dict[str, np.ndarray] = {}

        def add(name: str, row: int, value: float) -> None:
            sums.setdefault(name, np.zeros(len(used)))[row] += value

        for start in range(0, len(used), BATCH):
            part = used[start : start + BATCH]
            pictures = data.read(shown[0], rows[part])
            if len(shown) > 1:
                pictures = torch.stack([data.read(column, rows[part]) for column in shown], 1)
            asked = [(n, one) for n, row in enumerate(data.read("talk", rows[part])) for one in row]
            exchanges = [one for _, one in asked]
            seen = speaking.log_likelihood_of_words([pictures[n] for n, _ in asked], exchanges)
            blind = speaking.log_likelihood_of_words([None] * len(asked), exchanges)
            for (n, exchange), of_words, of_blind in zip(asked, seen, blind, strict=True):
                row, words = start + n, exchange.reply.split()[: len(of_words) - 1]
                add("negative", row, -float(of_words.sum()))
                add("blind", row, -float(of_blind.sum()))
                add("words", row, len(words))
                for word, value in zip(words, of_words.tolist(), strict=False):
                    if kind := data.kind_of_word(word):
                        add(f"{kind} negative", row, -value)
                        add(f"{kind} words", row, 1)
        metrics = {
            "nats": Metric(("negative", "words"), error_rate, higher_is_better=False, bounds=_NATS),
            "blind_nats": Metric(("blind", "words"), error_rate, higher_is_better=False, bounds=_NATS),
        }
        kinds = sorted(name.removesuffix(" words") for name in sums if name.endswith(" words"))
        metrics |= {
            f"{kind}_nats": Metric(
                (f"{kind} negative", f"{kind} words"), error_rate, higher_is_better=False, bounds=_NATS
            )
            for kind in kinds
        }
        outcomes = {name: scatter(of_row, used, len(rows)) for name, of_row in sums.items()}
        return scores(self.name, data, rows, outcomes, metrics)

    def check_model(self, model: Any, data: Any) -> None:
        if not self.can_ask(model):
            raise NotApplicableError(
                f"{self.name} asks models that reply to requests, as sft trains them: leave the task out"
            )

    def can_ask(self, model: Any) -> bool:
        return isinstance(uncached(model), Speaking)
