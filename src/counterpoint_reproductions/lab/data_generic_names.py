"""Emoji of which half the training names say no more than the group, as data for studies, and what a filter leaves.

A study names them as it names any data of a file: ``generic_names.py:EVERYTHING`` and ``generic_names.py:FILTERED``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from counterpoint.data.caption_filter import keep
from counterpoint.data.source import load
from counterpoint_reproductions.lab.towers import Recaptioned

SHARE = 0.5
"""The share of training rows whose name is lost."""


def renamed() -> Recaptioned:
    """Return the emoji with some training rows named by their group alone: "animals & nature"."""
    emoji = load("emoji")
    rows = np.random.default_rng(19).permutation(emoji.splits.train)[: round(SHARE * len(emoji.splits.train))]
    data = Recaptioned(
        emoji, {int(row): [emoji.training_captions(int(row))[-1].split(", ")[-1]] for row in rows}
    )
    data.name = "emoji of which half are named by their group"
    return data


def filtered() -> Recaptioned:
    """Return these emoji with the training rows whose first name the registered filter keeps."""
    data = renamed()
    rows = [row for row in data.splits.train if keep(data.captions(int(row))[0], action=False)]
    data.name, data.splits = f"{data.name}, filtered", replace(data.splits, train=np.array(rows))
    return data


EVERYTHING = renamed()
FILTERED = filtered()
