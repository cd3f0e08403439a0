"""Worlds of spoken scenes by name."""

from __future__ import annotations

from dataclasses import dataclass

from ..preset import Preset
from .config import SpeechConfig


@dataclass(frozen=True)
class SpeechPreset(Preset[SpeechConfig]):
    """A world of spoken scenes with a name.

    Attributes:
        pixels: side of a picture.
    """

    world = "speech"

    pixels: int = 96


PRESETS: dict[str, SpeechPreset] = {
    preset.name: preset
    for preset in (
        SpeechPreset(
            "basic",
            "one to three things, spoken of by six voices",
            SpeechConfig(repeats=0.2, speed=(90, 110)),
            tests={"as trained": {}, "noisy": {"noise": 1.0}},
        ),
        SpeechPreset(
            "short",
            "one thing, or several alike",
            SpeechConfig(objects=(1, 2), same=True, relations=0.0, speed=(90, 110)),
            tests={"as trained": {}, "noisy": {"noise": 1.0}},
        ),
        SpeechPreset(
            "speakers",
            "four voices in training, two others in a test",
            SpeechConfig(repeats=0.2, speakers=("plain", "deep", "bright", "scottish")),
            tests={"as trained": {}, "other speakers": {"speakers": ("rough", "quick")}},
        ),
        SpeechPreset(
            "people",
            "three hundred people in training, a hundred others in a test",
            SpeechConfig(repeats=0.2, people=(1, 300)),
            tests={"as trained": {}, "other people": {"people": (301, 400)}},
        ),
        SpeechPreset(
            "gaps",
            "in training speech without a caption, and captions that nobody says",
            SpeechConfig(repeats=0.2, speed=(90, 110), missing_speech=0.4, missing_captions=0.4),
            validations={"as trained": {"missing_speech": 0.0, "missing_captions": 0.0}},
            tests={"as trained": {"missing_speech": 0.0, "missing_captions": 0.0}},
        ),
    )
}
"""Worlds with names, which do not change under one version."""
