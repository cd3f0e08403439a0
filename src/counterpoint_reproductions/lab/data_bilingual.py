"""Emoji with English and Chinese names, as data for studies: names of all of them in both, or of a fifth in Chinese.

A study names them as it names any data of a file: ``bilingual.py:ALL``, ``bilingual.py:SOME`` and
``bilingual.py:CHINESE``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from counterpoint.data.base import Rows
from counterpoint.data.synthetic.emoji.world import Emoji
from counterpoint_reproductions.lab.towers import Recaptioned

TRANSLATED = 0.2
"""Share of the training pictures that have a Chinese name where not all have."""

ENGLISH_NAMES, CHINESE_NAMES = Emoji(languages=("en",)), Emoji(languages=("zh",))
_TRAIN = ENGLISH_NAMES.splits.train
_SOME = np.sort(np.random.default_rng(5).permutation(_TRAIN)[: round(TRANSLATED * len(_TRAIN))])


def bilingual(translated: Rows) -> Recaptioned:
    """Return the emoji with English names, and as likely a Chinese one of those that are translated."""
    both = set(translated.tolist())
    names = {
        row: [data.captions(row)[0] for data in (ENGLISH_NAMES, CHINESE_NAMES)[: 1 + (row in both)]]
        for row in _TRAIN.tolist()
    }
    data = Recaptioned(ENGLISH_NAMES, names)
    data.name = f"emoji in English, {len(both)} in Chinese too"
    return data


def chinese(translated: Rows) -> Recaptioned:
    """Return the emoji with Chinese names, of which those that are translated are there to train on."""
    data = Recaptioned(CHINESE_NAMES, {})
    data.name, data.splits = "emoji in Chinese", replace(CHINESE_NAMES.splits, train=translated)
    return data


ALL, SOME, CHINESE = bilingual(_TRAIN), bilingual(_SOME), chinese(_SOME)
