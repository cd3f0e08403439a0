"""Image quality: do ratings fall as pictures are made worse?"""

from __future__ import annotations

from typing import final

import numpy as np
import torch

from ...data.base import Rows
from ...data.corruptions import CORRUPTIONS, STRENGTHS
from ...data.pictured import PairedData
from ...types import Assistant, Metric, Scores
from ..rating import ENSEMBLE, Words, rate
from ..statistic import pearson, spearman
from ..task import AnsweringTask, check_rows, subsample_by_hash, table

LEVELS = len(STRENGTHS) + 1


@final
class ImageQuality(AnsweringTask):
    """Pictures as they are and made worse at three strengths, and how a rating goes with that.

    ``spearman`` and ``pearson`` correlate the score of a picture, from 0 to 1, with its level, the strength by which it
    was made worse counted down from the untouched picture; over all pictures, or within a way to make them worse
    (blur, noise, contrast, jpeg: the subsets), where the untouched ones count in each. The strengths of two ways
    are not comparable, so read the subsets first.

    Args:
        words: by which quality is rated; `counterpoint.evaluation.rating.BINARY` is the baseline.
        most: pictures that are made worse, each in 4 × 3 ways.

    Raises:
        ValueError: from a call without pictures, and as `rate`.

    Source: the protocol of Q-Boost (arXiv 2312.15300), with known distortions in place of mean opinions.
    """

    family = "answering"
    name = "image_quality"
    papers = ("q-boost",)
    primary = "spearman"

    def __init__(self, words: Words = ENSEMBLE, most: int = 64) -> None:
        self.words, self.most = words, most

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        check_rows(data, rows, self.name)
        some = rows[subsample_by_hash(data, rows, self.most, self.name)]
        keys = data.ids[some]
        pictures, numbers = data.images(some), torch.from_numpy(keys)
        untouched = rate(assistant, list(pictures), self.words).double().numpy()
        ids, subsets, levels, scores = [], [], [], []
        for number, (name, corrupt) in enumerate(CORRUPTIONS.items()):
            for worse in range(LEVELS):
                rated = untouched
                if worse:
                    made = corrupt(pictures, numbers, STRENGTHS[worse - 1])
                    rated = rate(assistant, list(made), self.words).double().numpy()
                ids += ((keys * len(CORRUPTIONS) + number) * LEVELS + worse).tolist()
                subsets += [name] * len(keys)
                levels += [LEVELS - 1 - worse] * len(keys)
                scores += rated.tolist()
        outcomes = {
            "level": np.array(levels),
            "score": np.array(scores),
        }
        metrics = {
            "spearman": Metric(("level", "score"), spearman, chance=0.0),
            "pearson": Metric(("level", "score"), pearson, chance=0.0),
        }
        return table(self.name, np.array(ids), subsets, outcomes, metrics)
