"""Worlds of soundscapes by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ....registry import unknown
from ..spec import whole
from .compose import SoundConfig


@dataclass(frozen=True)
class SoundPreset:
    """A world of soundscapes; ``tests`` override some of its options.

    Attributes:
        name: after ``sounds:``.
        about: in one line.
        config: of all splits, but for what a split overrides.
        version: raised whenever a soundscape of it would change.
        seed: of the world.
        train, validation, test: rows of training, and of each validation and test split.
        tests: the test splits, with the options that they override.
        pixels: side of a spectrogram.
    """

    name: str
    about: str
    config: SoundConfig
    version: int = 1
    seed: int = 0
    train: int = 4_000
    validation: int = 300
    test: int = 500
    tests: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"as trained": {}})
    pixels: int = 96

    def changed(self, options: Mapping[str, str]) -> SoundPreset:
        """The preset with some options as they are written on a command line.

        Raises:
            UnknownName: for an option that neither the configuration nor the preset has.
            ValueError: for a value that it cannot have.
        """
        config = {name: text for name, text in options.items() if name in SoundConfig.model_fields}
        for name in options:
            if name not in config and name not in _LEAST:
                raise unknown("option of sounds", name, [*_LEAST, *SoundConfig.model_fields])
        own = whole("sounds", options, _LEAST)
        return replace(self, config=self.config.changed(config, f"sounds:{self.name}"), **own)  # type: ignore[arg-type] # whole numbers all


_LEAST = {"seed": 0, "train": 1, "validation": 1, "test": 1, "pixels": 16}


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
