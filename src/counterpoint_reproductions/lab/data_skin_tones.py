"""Emoji with a skin tone and their names, as data for studies: names that differ in the tone are hard negatives.

A study names them as it names any data of a file: ``skin_tones.py:TONED`` and ``skin_tones.py:SHARED``, where half of
the training names lack the tone and are those of other pictures, too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Int

from counterpoint.data.base import Rows
from counterpoint.data.synthetic.emoji.world import Emoji
from counterpoint_reproductions.lab.towers import Recaptioned

EMOJI = Emoji()
TONES = EMOJI.labels["tone"]
SHARE = 0.5
"""Share of training names without their tone, in `SHARED`."""
COMPOSITIONS = "compositions"
"""Held-out pictures: each of a known emoji and a known tone."""


def toned(rows: Rows) -> Int[np.ndarray, " toned"]:
    """Select the rows that have a skin tone."""
    return rows[TONES.values[rows] >= 0]


def in_every_tone(row: int) -> list[str]:
    """Write the name of an emoji, in its own skin tone and the four others, in the order of the labels."""
    name, own = EMOJI.evaluation_captions(row)[0], TONES.names[TONES.values[row]]
    return [name.replace(own, tone) for tone in TONES.names]


def toneless(row: int) -> str:
    """Write the name of an emoji without its skin tone, which it shares with up to four others."""
    return EMOJI.evaluation_captions(row)[0].replace(TONES.names[TONES.values[row]], "")


def named(share: float) -> Recaptioned:
    """Return the emoji of one skin tone by their names alone, of which a share to train on lack the tone."""
    train = toned(EMOJI.splits.train)
    without = set(np.random.default_rng(17).permutation(train)[: round(share * len(train))].tolist())
    names = {
        row: [toneless(row)] if row in without else EMOJI.evaluation_captions(row) for row in train.tolist()
    }
    data = Recaptioned(EMOJI, names)
    data.name = f"emoji with a skin tone{f', not said of {share:.0%}' if share else ''}"
    held = {COMPOSITIONS: toned(EMOJI.splits.validation[COMPOSITIONS])}
    data.splits = replace(
        EMOJI.splits,
        train=train,
        validation=held,
        test={COMPOSITIONS: toned(EMOJI.splits.test[COMPOSITIONS])},
    )
    return data


TONED, SHARED = named(0.0), named(SHARE)
