"""Emoji with their names in several languages, one a caption or all in one text, as data for studies.

A study names them as it names any data of a file: ``languages.py:NAMES`` and ``languages.py:TOGETHER``.
"""

from __future__ import annotations

from counterpoint.data.synthetic.emoji.world import Emoji
from counterpoint_reproductions.lab.towers import Recaptioned

LANGUAGES = ("en", "de", "fr", "es", "pt", "it")


def named(together: bool) -> Recaptioned:
    """Return the emoji with their names, without the captions that name kinds.

    Args:
        together: one caption holds all names.
    """
    emoji = Emoji(languages=LANGUAGES)
    rows = emoji.splits.train if together else ()
    data = Recaptioned(emoji, {int(row): ["; ".join(emoji.captions(int(row)))] for row in rows})
    data.name = f"emoji in {len(LANGUAGES)} languages{', together' * together}"
    return data


NAMES, TOGETHER = named(together=False), named(together=True)
