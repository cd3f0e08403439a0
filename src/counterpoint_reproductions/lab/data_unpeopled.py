"""Emoji that are not people, by both artists, with their names alone as captions, as data for studies.

People are half of all emoji, most of them in five skin tones. A study names the data as it names any data of a file:
``unpeopled.py:UNPEOPLED``.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from counterpoint.data.base import Rows, Splits
from counterpoint.data.synthetic.emoji.world import Emoji
from counterpoint_reproductions.lab.towers import Recaptioned

LABEL, PEOPLE = "group", "people and body parts"


def unpeopled() -> Recaptioned:
    """Return the rows without people; what validates and tests are concepts that training has nothing of."""
    # Captions of training name the group too, where nothing else is said.
    data = Recaptioned(Emoji("both"), {})
    group = data.classes[LABEL]

    def without_people(rows: Rows) -> Int[np.ndarray, " kept"]:
        return rows[group.values[rows] != group.names.index(PEOPLE)]

    splits = data.splits
    data.name = "emoji without people, by their names"
    data.splits = Splits(
        without_people(splits.train),
        {"concepts": without_people(splits.validation["concepts"])},
        {"concepts": without_people(splits.test["concepts"])},
    )
    return data


UNPEOPLED = unpeopled()
