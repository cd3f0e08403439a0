"""Phrases around captions that no picture decides."""

from __future__ import annotations

from ....rng import Rng

BEFORE = (
    "as far as anybody can tell at first sight there is",
    "if you ask me what this is about I would say",
    "let me try to put it in plain words for you:",
    "without going into too much detail this shows",
    "it goes without saying that here we have",
    "to make a long story short you can see",
)
BEHIND = (
    "and that is really all there is to say about it",
    "although others might of course describe it differently",
    "which is exactly what was to be expected here",
    "as anybody who takes the time would agree",
    "but please take this with a grain of salt",
    "and I hope that this answers your question",
)


def wrapped(caption: str, draws: Rng) -> str:
    """Return a caption between a phrase before it and one behind it.

    >>> wrapped("a red cat", Rng(0, 1))
    'as far as anybody can tell at first sight there is a red cat and that is really all there is to say about it'
    """
    return f"{draws.choice('before', BEFORE)} {caption} {draws.choice('behind', BEHIND)}"
