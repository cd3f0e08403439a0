"""Quality ranking: are pictures ordered by comparisons with anchors as their quality is?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Float

from ...data.base import Rows
from ...data.corruptions import CORRUPTIONS, STRENGTHS
from ...data.pictured import PairedData
from ...forms import Positive
from ...types import Assistant, Metric, Picture, Prompt, Scores, Turn
from ..comparison import LEVELS, anchored_scores, preferences
from ..statistic import pearson, spearman
from ..task import AnsweringTask, check_rows, subsample_by_hash, table

FIRST = Turn("This is the first image.", "I see it.")
PROMPT = (
    "Compared with the first image, how is the quality of the second image? "
    "Answer inferior, worse, similar, better or superior."
)
QUALITIES = len(STRENGTHS) + 1


@final
class QualityRanking(AnsweringTask):
    """Pictures as they are and made worse at three strengths, ranked by soft comparisons with anchors.

    The anchors are one picture at each strength of the same way to make it worse, so that comparisons stay within one
    set. Each picture is compared with each anchor in both orders, whose preferences are averaged: a model may prefer
    the second picture. The scores are those of highest posterior probability (`counterpoint.evaluation.comparison`).

    ``spearman`` and ``pearson`` correlate the score of a picture with its level, as in `image_quality`.

    Args:
        words: levels of the second picture from the worst to the best; their first tokens must differ.
        most: pictures that are ranked, each in 4 × 4 versions.
        logit_divisor: of the logits of the words; 100 in the released code.

    Raises:
        ValueError: from a call with fewer than two pictures, and (from the assistant) for words that begin with the
            same token.

    Source: Compare2Score (arXiv 2405.19298), with known distortions in place of mean opinions. The paper asks about
    both pictures in one turn; here the first one is in an earlier turn.
    """

    family = "answering"
    name = "quality_ranking"
    papers = ("compare2score",)
    primary = "spearman"

    def __init__(self, words: Sequence[str] = LEVELS, most: int = 16, logit_divisor: Positive = 1.0) -> None:
        self.words, self.most, self.logit_divisor = tuple(words), most, logit_divisor

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        check_rows(data, rows, self.name)
        some = rows[subsample_by_hash(data, rows, self.most + 1, self.name)]
        chosen = some[
            np.argsort(data.ids[some])
        ]  # the first one is the anchor, whatever the order of the rows
        if len(chosen) < 2:
            raise ValueError(f"{self.name} ranks pictures beside one that is the anchor: give two or more")
        keys = data.ids[chosen]
        pictures, numbers = data.images(chosen), torch.from_numpy(keys)
        ids, subsets, levels, scores = [], [], [], []
        for number, (name, corrupt) in enumerate(CORRUPTIONS.items()):
            versions = [pictures, *(corrupt(pictures, numbers, strength) for strength in STRENGTHS)]
            anchors = [version[0] for version in versions]
            block = self._preferred(assistant, anchors, anchors)
            np.fill_diagonal(block, 0.5)
            for worse, version in enumerate(versions):
                ids += ((keys[1:] * len(CORRUPTIONS) + number) * QUALITIES + worse).tolist()
                subsets += [name] * (len(keys) - 1)
                levels += [QUALITIES - 1 - worse] * (len(keys) - 1)
                preferred = self._preferred(assistant, list(version[1:]), anchors)
                scores += anchored_scores(block, preferred).tolist()
        outcomes = {"level": np.array(levels, dtype=float), "score": np.array(scores)}
        metrics = {
            "spearman": Metric(("level", "score"), spearman, chance=0.0),
            "pearson": Metric(("level", "score"), pearson, chance=0.0),
        }
        return table(self.name, np.array(ids), subsets, outcomes, metrics)

    def _preferred(
        self, assistant: Assistant, pictures: Sequence[Picture], anchors: Sequence[Picture]
    ) -> Float[np.ndarray, "n a"]:
        """Return how probable it is that each picture is preferred to each anchor, the mean over both orders."""
        pairs = [(anchor, picture) for picture in pictures for anchor in anchors]
        after, before = (self._second(assistant, asked) for asked in (pairs, [pair[::-1] for pair in pairs]))
        return ((after + 1 - before) / 2).reshape(len(pictures), len(anchors))

    def _second(
        self, assistant: Assistant, pairs: Sequence[tuple[Picture, Picture]]
    ) -> Float[np.ndarray, " n"]:
        """Return how probable it is that the second picture of each pair is preferred."""
        prompts = [Prompt(PROMPT, second, (Turn(FIRST.text, FIRST.reply, first),)) for first, second in pairs]
        logits = assistant.word_logits(prompts, self.words).double().numpy()
        return preferences(logits, self.logit_divisor)
