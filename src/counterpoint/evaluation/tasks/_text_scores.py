"""Texts about pictures: captions and the things that they invent, explanations, and replies to instructions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data.items import Items
from ...types import Metric, Scores
from ..cider import cider
from ..item_scores import item_scores
from ..replies import normalised
from ..statistic import mean

_WITHIN = 1.5  # times as long, or as short, as the reference: else the form that was asked for is not kept


def text_scores(
    task: str, items: Items, indices: Sequence[int], replies: Sequence[str], right: Sequence[str]
) -> Scores:
    """Score texts about some items."""
    lengths, wanted = (np.array([len(text.split()) for text in texts], float) for texts in (replies, right))
    known = {
        "cider": cider(replies, [[each] for each in right]),
        "right": np.array(
            [normalised(a) == normalised(b) for a, b in zip(replies, right, strict=True)], float
        ),
        "kept": ((lengths <= _WITHIN * wanted) & (wanted <= _WITHIN * lengths)).astype(float),
        "words": lengths,
    }
    outcomes = {}
    for name, values in known.items():
        outcomes[name] = np.full(len(items), np.nan)
        outcomes[name][list(indices)] = values
    return item_scores(task, items, outcomes, {name: Metric(name, mean) for name in known})
