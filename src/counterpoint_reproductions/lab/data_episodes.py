"""Conversations from whose earlier exchanges the last reply follows, as data for studies.

A request names a thing, and the reply is a code. ``data_episodes.py:EPISODES`` are conversations of ten exchanges with
codes of their own. In half of them a few things come again, each with one code. In the others all things of a kind have
one code. ``data_episodes.py:STRINGS`` are replies in which a short string of the same words comes again at varied
distances. ``data_episodes.py:CODES`` are rows of one exchange, in which kinds have codes that are the same in all rows;
test rows ask for things that no training row names. Each has a small form for smoke runs, as ``FEW_CODES``.
"""

from __future__ import annotations

from typing import final

import numpy as np

from counterpoint.data.synthetic.scenes.concepts import CONCEPTS
from counterpoint.raw import Conversation, Exchange
from counterpoint_reproductions.lab.talking_scenes import AskedScenes, TalkingScenes

KINDS = ("animal", "food", "vehicle", "tool")
THINGS = {kind: tuple(name for name, of in CONCEPTS.items() if of.kind == kind)[:9] for kind in KINDS}
NAMES = tuple(name for names in THINGS.values() for name in names)
CODE_WORDS = ("alpha", "bravo", "delta", "golf", "hotel", "kilo", "lima", "oscar")
HELD_OUT = 3
"""Things of each kind that test rows ask for."""
EXCHANGES, AGAIN = 10, 4
WORDS = (*NAMES, *CODE_WORDS)
"""All words of the conversations here."""
LENGTH, LONGEST, GAP = 48, 6, 7
"""Words of a row of strings, of the longest string, and at most between a string and its next occurrence."""
_SCENES = "scenes:basic,objects=1-1,sizes=medium,relations=0,pixels=32,validation=64"


@final
class Episodes(TalkingScenes):
    """Conversations of ten exchanges with codes of their own."""

    def __init__(self, source: str) -> None:
        super().__init__(source, "codes that change")

    def talk(self, row: int) -> Conversation:
        draws = np.random.default_rng(int(self.ids[row]))
        codes = draws.permutation(CODE_WORDS)
        if row % 2:
            named = draws.choice(NAMES, AGAIN, replace=False)
            asked = named[draws.integers(AGAIN, size=EXCHANGES)]
            of_name = dict(zip(named, codes, strict=False))
        else:
            asked = draws.choice(NAMES, EXCHANGES)
            of_name = {name: codes[KINDS.index(kind)] for kind, names in THINGS.items() for name in names}
        return tuple(Exchange(str(name), str(of_name[name])) for name in asked)


@final
class Strings(TalkingScenes):
    """Replies in which a string of 2 to 6 words comes again and again, with 0 to 7 other words in between."""

    def __init__(self, source: str) -> None:
        super().__init__(source, "strings that come again")

    def talk(self, row: int) -> Conversation:
        draws = np.random.default_rng(int(self.ids[row]))
        string = draws.choice(WORDS, int(draws.integers(2, LONGEST + 1))).tolist()
        words: list[str] = []
        while len(words) < LENGTH:
            words += [*string, *draws.choice(WORDS, int(draws.integers(GAP + 1))).tolist()]
        return (Exchange(words[0], " ".join(words[1:LENGTH])),)


@final
class Codes(AskedScenes):
    """Rows of one exchange, in which kinds have codes that are the same in all rows."""

    def __init__(self, source: str) -> None:
        super().__init__(source, "codes of kinds")

    def kind(self, row: int) -> str:
        return "code"

    def talk(self, row: int) -> Conversation:
        draws = np.random.default_rng(int(self.ids[row]))
        number, kind = int(draws.integers(len(KINDS))), slice(HELD_OUT, None)
        if row in self.tested:
            kind = slice(HELD_OUT)
        names = THINGS[KINDS[number]][kind]
        return (Exchange(names[draws.integers(len(names))], CODE_WORDS[number]),)


STRINGS, FEW_STRINGS = (Strings(f"{_SCENES},seed=2,train={size},test=32") for size in (6000, 48))
EPISODES, FEW_EPISODES = (Episodes(f"{_SCENES},train={size},test=32") for size in (6000, 48))
CODES, FEW_CODES = (Codes(f"{_SCENES},seed=1,train=352,test={size}") for size in (1000, 32))
ASKED_CODES = Codes(f"{_SCENES},seed=1,train=1024,test=2000")
