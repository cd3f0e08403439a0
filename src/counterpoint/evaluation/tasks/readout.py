"""Sequences that are read from a picture or a text, symbol by symbol."""

from __future__ import annotations

from typing import final

import numpy as np

from ...data.base import Rows
from ...data.items import Instructions
from ...data.pictured import PairedData
from ...types import Assistant, Metric, Prompt, Scores
from ..item_scores import batches, item_scores
from ..replies import HELD
from ..statistic import mean
from ..task import AnsweringTask, items_of


@final
class Readout(AnsweringTask):
    """Instructions whose replies are sequences of words: the share of words that stand in their place.

    ``by_symbol`` is the share of a true reply's words that the model's reply has in the same place; ``exact`` is the
    share of replies that are the true one. Case and commas do not count. For each kind of instructions there are both,
    as ``picture_by_symbol``: one data set can ask for the same sequence of a picture and of a text.

    Raises:
        NotApplicableError: from a call, if the data has no instructions.

    Source: Park et al., "Generalizing from SIMPLE to HARD Visual Reasoning: Can We Mitigate Modality Imbalance in
    VLMs?" (2025), arXiv 2501.02669.
    """

    family = "answering"
    papers = ("simple-to-hard-vlm",)
    name = "readout"
    primary = "by_symbol"

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        items = items_of(data, Instructions, rows, self.name)
        replies: list[str] = []
        for positions in batches(len(items), HELD):
            pictures = items.pictures(positions)
            asked = [Prompt(items.texts[k], picture) for k, picture in zip(positions, pictures, strict=True)]
            replies += assistant.reply(asked, seed=seed)
        pairs = [(symbols(reply), symbols(true)) for reply, true in zip(replies, items.replies, strict=True)]
        overall = {
            "by_symbol": np.array([share_in_place(*pair) for pair in pairs]),
            "exact": np.array([float(reply == true) for reply, true in pairs]),
        }
        outcomes = dict(overall)
        for kind in dict.fromkeys(items.kinds):
            its = np.array([each == kind for each in items.kinds])
            outcomes |= {f"{kind}_{name}": np.where(its, of, np.nan) for name, of in overall.items()}
        return item_scores(self.name, items, outcomes, {name: Metric(name, mean) for name in outcomes})


def symbols(reply: str) -> list[str]:
    """Return the words of a reply in small letters, without commas and a full stop.

    >>> symbols("Cat, key.")
    ['cat', 'key']
    """
    return reply.lower().replace(",", " ").removesuffix(".").split()


def share_in_place(reply: list[str], true: list[str]) -> float:
    """Return the share of the true words that a reply has in their places.

    >>> share_in_place(["cat", "key"], ["cat", "bell", "key"])
    0.3333333333333333
    """
    pairs = zip(reply, true, strict=False)
    return sum(mine == its for mine, its in pairs) / max(len(true), 1)
