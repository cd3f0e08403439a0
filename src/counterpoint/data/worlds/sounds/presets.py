"""Worlds of soundscapes by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ....registry import unknown
from ..spec import whole
from .compose import SoundDials


@dataclass(frozen=True)
class SoundPreset:
    """A world of soundscapes; ``tests`` turn some of its dials.

    Attributes:
        name: after ``sounds:``.
        about: in one line.
        dials: that all splits share, but for what a test turns.
        version: raised whenever a soundscape of it would change.
        seed: of the world.
        train, validation, test: rows of training, and of each validation and test split.
        tests: the test splits, with the dials that they turn.
        pixels: side of a spectrogram.
    """

    name: str
    about: str
    dials: SoundDials
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
            UnknownName: for an option that is neither a dial nor one of the preset's.
            ValueError: for a value that it cannot have.
        """
        dials = {name: text for name, text in options.items() if name in SoundDials.model_fields}
        for name in options:
            if name not in dials and name not in _LEAST:
                raise unknown("option of sounds", name, [*_LEAST, *SoundDials.model_fields])
        own = whole("sounds", options, _LEAST)
        return replace(self, dials=self.dials.changed(dials, f"sounds:{self.name}"), **own)  # type: ignore[arg-type] # whole numbers all


_LEAST = {"seed": 0, "train": 1, "validation": 1, "test": 1, "pixels": 16}


PRESETS: dict[str, SoundPreset] = {
    preset.name: preset
    for preset in (
        SoundPreset(
            "basic",
            "one to three sounds, one after the other or at once",
            SoundDials(),
            tests={"as trained": {}, "one": {"sounds": 1}, "three": {"sounds": 3}},
        ),
        SoundPreset("order", "two or three sounds after each other", SoundDials(sounds=(2, 3), together=0)),
        SoundPreset(
            "attributes",
            "two sounds that differ in pitch, loudness or length",
            SoundDials(sounds=(2, 2), together=0.5, described=0.8),
        ),
    )
}


"""Worlds with names, which do not change under one version."""
