"""``sounds``: soundscapes with order and attributes, their spectrograms, and captions that are spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....registry import lazy_exports

if TYPE_CHECKING:
    from .compose import SoundDials
    from .mel import spectrogram
    from .presets import PRESETS
    from .soundscape import Sound, Soundscape
    from .speech import VOICES, speak
    from .synthesis import save, synthesise
    from .world import Sounds

__all__ = [
    "PRESETS",
    "VOICES",
    "Sound",
    "SoundDials",
    "Sounds",
    "Soundscape",
    "save",
    "speak",
    "spectrogram",
    "synthesise",
]
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "PRESETS": "world",
        "Sound": "soundscape",
        "SoundDials": "compose",
        "Sounds": "world",
        "Soundscape": "soundscape",
        "VOICES": "speech",
        "save": "synthesis",
        "speak": "speech",
        "spectrogram": "mel",
        "synthesise": "synthesis",
    },
)
