"""Worlds of clips by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Literal, cast

from torch import Tensor

from ....registry import unknown
from ...pictures.frames import middle, sheet
from ..config import names
from ..preset import Overrides, Preset
from ..scenes.words.lexicon import LANGUAGES
from .clip import DIRECTIONS
from .config import ClipConfig
from .words.contrasts import CONTRASTS

Picture = Literal["sheet", "middle"]
PICTURES: Mapping[str, Callable[[Tensor], Tensor]] = {"sheet": sheet, "middle": middle}
"""Functions that make a row's picture, by name: nine frames side by side, or the one in the middle."""


def _picture(name: str) -> Picture:
    if name not in PICTURES:
        raise unknown("picture of a clip", name, PICTURES)
    return cast(Picture, name)


@dataclass(frozen=True)
class ClipPreset(Preset[ClipConfig]):
    """A world of clips with a name.

    Attributes:
        languages: of the captions, the one that evaluation uses first.
        pixels: side of a frame.
        picture: what a row's picture is, where rows are pictures.
        columns: of the data, each called by its modality.
        contrasts: kinds of contrasts (:mod:`.words.contrasts`), of which a row has one: the caption of a clip that
            differs from the row's in one thing is the column ``contrast``, and what `ContrastCaptions` are of; without
            any there is no such column, and they are of all kinds.
    """

    world = "clips"
    readers = MappingProxyType(
        {
            "languages": partial(names, "language", known=LANGUAGES),
            "picture": _picture,
            "contrasts": partial(names, "kind of contrast", known=CONTRASTS),
        }
    )

    tests: Overrides = field(
        default_factory=lambda: {"as trained": {}, "other artist": {"artists": "openmoji"}}
    )
    languages: tuple[str, ...] = ("en",)
    pixels: int = 48
    picture: Picture = "sheet"
    columns: tuple[str, ...] = ("video", "text")
    contrasts: tuple[str, ...] = ()


PRESETS: dict[str, ClipPreset] = {
    preset.name: preset
    for preset in (
        ClipPreset("basic", "one to three events, beside things that stay where they are", ClipConfig()),
        ClipPreset(
            "order", "two or three events and nothing else", ClipConfig(events=(2, 3), settings=("none",))
        ),
        ClipPreset(
            "compositions",
            "two things to which something happens, of concepts that training never shows together",
            ClipConfig(events=(2, 2), pair_compositions="train"),
            validations={"as trained": {}, "pairs": {"pair_compositions": "validation"}},
            tests={"as trained": {}, "pairs": {"pair_compositions": "test"}},
        ),
        ClipPreset(
            "narrated",
            "two coloured things that stay visible, mostly side by side, for questions about what is shown and said",
            ClipConfig(
                events=(2, 2),
                actions=("move up", "move down", "grow", "shrink"),
                settings=("none",),
                tinted=1.0,
            ),
        ),
        ClipPreset(
            "sensors",
            "one thing moves, with what an accelerometer on it measures; some rows lack a modality",
            ClipConfig(
                events=(1, 1),
                actions=tuple(DIRECTIONS),
                settings=("none",),
                sensor_noise=5.0,
                missing_pictures=0.2,
                missing_captions=0.2,
                missing_sensors=0.2,
            ),
            columns=("video", "series", "text"),
        ),
        ClipPreset(
            "sounding",
            "two things move up or down, each with a tone that is the higher the higher the thing is",
            ClipConfig(events=(2, 2), actions=("move up", "move down"), settings=("none",)),
            tests={"as trained": {}, "twins in order": {"twins": True}},
            columns=("video", "audio", "text"),
        ),
    )
}
"""Worlds with names, which do not change under one version."""
