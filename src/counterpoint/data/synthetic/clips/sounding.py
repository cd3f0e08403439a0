"""The sound of a clip: each thing is heard as it moves, the higher it is the higher, in whole numbers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int16

from ..scenes.scene import UNIT
from ..sounds.synthesis import RATE, glide
from .clip import DIRECTIONS, Clip
from .sensors import path

FRAME = RATE // 10
"""Samples a frame: ten frames a second."""
LOWEST, HIGHEST = 200, 1000
"""Hertz of a thing whose middle is at the lower, and at the upper edge of the picture."""
AMPLITUDE = 10_000
_FADE = FRAME // 8


def soundtrack(clip: Clip) -> Int16[np.ndarray, " samples"]:
    """Synthesise what is heard of a clip, `FRAME` samples for each frame; silence while nothing moves.

    A thing that moves to a side is one tone, one that moves up or down a tone that glides; the loudness is
    always the same.

    >>> from counterpoint.data.synthetic.clips.clip import Event
    >>> from counterpoint.data.synthetic.scenes.scene import Scene, Thing
    >>> cat = Thing("cat", "red", "small", 200, 300, 500)
    >>> wave = soundtrack(Clip(Scene(0, (cat,)), (Event("move up", 0, 2, 6, by=200),), 8))
    >>> wave.shape, np.flatnonzero(np.abs(wave) > 100)[[0, -1]] // FRAME
    ((12800,), array([2, 5]))
    """
    mixed = np.zeros(clip.frames * FRAME, np.int64)
    for event in clip.events:
        if event.action in DIRECTIONS:
            heard = slice(event.start * FRAME, event.end * FRAME)
            heights = UNIT - path(clip, event.thing, FRAME)[heard, 1].astype(np.int64)
            tone = glide(16 * LOWEST + 16 * (HIGHEST - LOWEST) * heights // UNIT)
            within = np.arange(len(tone))
            fade = np.minimum(within, within[::-1]).clip(max=_FADE)
            mixed[heard] += tone * AMPLITUDE // 2**15 * fade // _FADE
    return mixed.clip(-(2**15), 2**15 - 1).astype(np.int16)
