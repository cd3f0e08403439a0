"""Emoji with their names alone as captions, or half or all with another's, as data for studies that ask for groups.

Captions of the emoji as they come name the group too. A study names the data as it names any data of a file:
``names.py:OWN``, ``names.py:EXCHANGED`` and ``names.py:SHUFFLED``, where chance alone gives a name back.
"""

from __future__ import annotations

import numpy as np

from counterpoint.data.base import Rows
from counterpoint.data.synthetic.emoji.world import Emoji
from counterpoint_reproductions.lab.towers import Recaptioned

NOISE = 0.5
"""Share of training rows whose names are another's, in `EXCHANGED`."""
_EMOJI = Emoji()


def sources(noise: float, seed: int) -> Rows:
    """Choose the row whose names each training row gets: itself, or in a share of the rows one of these at random."""
    rows = _EMOJI.splits.train
    rng = np.random.default_rng([seed, 17])
    chosen = rng.permutation(len(rows))[: round(noise * len(rows))]
    found = rows.copy()
    found[chosen] = rows[rng.permutation(chosen)]
    return found


def named(noise: float) -> Recaptioned:
    """Return the emoji with names alone, which a share of the training rows exchange among them."""
    rows = zip(_EMOJI.splits.train.tolist(), sources(noise, 0).tolist(), strict=True)
    data = Recaptioned(_EMOJI, {row: _EMOJI.captions(source) for row, source in rows})
    data.name = f"emoji by their names{f', {noise:.0%} of them exchanged' if noise else ''}"
    return data


OWN, EXCHANGED, SHUFFLED = named(0.0), named(NOISE), named(1.0)
