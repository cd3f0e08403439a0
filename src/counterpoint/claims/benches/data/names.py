"""Emoji with their names alone as captions, as data for studies that ask for groups.

Captions of the emoji as they come name the group too. A study names the data as it names any data of a file:
``names.py:OWN``.
"""

from __future__ import annotations

from counterpoint.claims.benches.towers import Recaptioned
from counterpoint.data.worlds.emoji.world import Emoji

OWN = Recaptioned(Emoji(), {})
OWN.name = "emoji by their names"
