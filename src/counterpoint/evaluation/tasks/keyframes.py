"""Which frames of a clip and which sentences of its transcript are key."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.base import Data, Rows
from ...data.embeddings import uncached
from ...data.labels import Timelines
from ...data.timelines import lengths_of, resampled
from ...types import Embedder, FindsKeys, Metric, Scores
from ..several import average_precision
from ..statistic import mean
from ..task import EmbedderTask, NotApplicableError, check_columns, check_labels, check_rows, scores

BATCH = 64
"""Rows that are scored at once."""


@final
class Keyframes(EmbedderTask):
    """The key frames and the key sentences of each clip, among all of it.

    ``AP`` is the average precision of the ranking within a clip, ``F1`` that of as many of the best as there are key
    ones. Both are means over the clips in which some are key and some are not. Chance of both is the share of key ones.
    Of labels with more places than a model sees frames, the score of a place is that of the frame at its middle.

    Raises:
        NotApplicableError: for a model that scores no frames, and data without these labels.
        ValueError: for no rows.

    Source: as in He et al., "Align and Attend: Multimodal Summarization with Dual Contrastive Losses" (2023), arXiv
    2303.07284, which chooses as many as there are key ones.
    """

    family = "video"
    name = "keyframes"
    primary = "frames_AP"
    modalities = ("video",)
    reads = ("video", "transcript")
    labels = ("key_frames", "key_sentences")
    kind = Timelines

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        check_columns(self, data)
        self.check_model(model, data)
        finder: Any = uncached(model)
        outcomes: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}
        given: dict[str, list[Tensor]] = {column: [] for column in self.reads}
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            scored = finder.key_scores({column: data.read(column, part) for column in self.reads})
            for column in self.reads:
                given[column] += scored[column].cpu()
        known = check_labels(data, self.labels, self.name, Timelines)
        for column, label, noun in zip(self.reads, self.labels, ("frames", "sentences"), strict=True):
            if label not in known:
                continue
            truth = torch.from_numpy(data.labels[label].values[rows])
            padded = torch.nn.utils.rnn.pad_sequence(given[column], batch_first=True, padding_value=torch.nan)
            aligned = resampled(padded.double(), lengths_of(truth), truth.shape[1])
            outcomes[f"{noun}_AP"], outcomes[f"{noun}_F1"], shares = ranked(aligned, truth)
            chance = float(np.nanmean(shares)) if np.isfinite(shares).any() else 0.0
            for name in (f"{noun}_AP", f"{noun}_F1"):
                metrics[name] = Metric(name, mean, chance=chance)
        return scores(self.name, data, rows, outcomes, metrics)

    def check_model(self, model: Any, data: Any) -> None:
        if not self.can_ask(model):
            raise NotApplicableError(
                f"{self.name} asks models that score frames, as a2summ does: leave the task out"
            )

    def can_ask(self, model: Any) -> bool:
        return isinstance(uncached(model), FindsKeys)


def ranked(
    given: Float[Tensor, "n L"], truth: Float[Tensor, "n L"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return of each row average precision, F1 of as many as are true, and the share of true places.

    Places without a number count in neither. All three are NaN of rows of which every place is true, or none.

    >>> given = torch.tensor([[0.9, 0.2, 0.8], [0.1, 0.2, 0.3]], dtype=torch.float64)
    >>> truth = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    >>> [it.round(3).tolist() for it in ranked(given, truth)]
    [[0.833, nan], [0.5, nan], [0.667, nan]]
    """
    outcomes = np.full((3, len(given)), np.nan)
    for row, (of_row, true) in enumerate(zip(given.numpy(), truth.numpy(), strict=True)):
        known = ~np.isnan(true) & ~np.isnan(of_row)
        key, score = true[known] > 0, of_row[known]
        count = int(key.sum())
        if 0 < count < len(key):
            best = np.argsort(-score, kind="stable")[:count]
            pairs = np.stack([key, score], 1).astype(np.float64)
            outcomes[:, row] = average_precision(pairs), key[best].mean(), count / len(key)
    return outcomes[0], outcomes[1], outcomes[2]
