"""Worlds of soundscapes by name."""

from __future__ import annotations

from dataclasses import dataclass

from ..preset import Preset
from .compose import SoundConfig


@dataclass(frozen=True)
class SoundPreset(Preset[SoundConfig]):
    """A world of soundscapes with a name.

    Attributes:
        pixels: side of a spectrogram.
    """

    world = "sounds"

    pixels: int = 96


PRESETS: dict[str, SoundPreset] = {
    preset.name: preset
    for preset in (
        SoundPreset(
            "basic",
            "one to three sounds, one after the other or at once",
            SoundConfig(),
            tests={"as trained": {}, "one": {"sounds": 1}, "three": {"sounds": 3}},
        ),
        SoundPreset("order", "two or three sounds after each other", SoundConfig(sounds=(2, 3), together=0)),
        SoundPreset(
            "attributes",
            "two sounds that differ in pitch, loudness or length",
            SoundConfig(sounds=(2, 2), together=0.5, described=0.8),
        ),
    )
}
"""Worlds with names, which do not change under one version."""
