"""Worlds of people in motion by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..preset import Preset
from .config import MotionConfig


@dataclass(frozen=True)
class MotionPreset(Preset[MotionConfig]):
    """A world of people in motion with a name."""

    world = "motions"
    least: ClassVar[Mapping[str, int]] = {
        name: least
        for name, least in Preset.least.items()
        if name != "pixels"  # nothing is drawn
    }


_OTHERS = {"as trained": {}, "new users": {"users": "12-17"}}
PRESETS: dict[str, MotionPreset] = {
    preset.name: preset
    for preset in (
        MotionPreset(
            "basic",
            "eight activities of twelve users, at most one transition in eight seconds",
            MotionConfig(),
            tests=_OTHERS,
        ),
        MotionPreset(
            "loose",
            "the same, and the hip's device is worn so loosely that it tells little",
            MotionConfig(loose=("hip",)),
            tests=_OTHERS,
        ),
        MotionPreset(
            "long",
            "recordings of half a minute with three to six transitions",
            MotionConfig(steps=600, changes=(3, 6)),
            tests=_OTHERS,
        ),
    )
}
"""Worlds with names, which do not change under one version."""
