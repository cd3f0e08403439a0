"""Worlds of clips by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor

from ....registry import unknown
from ...frames import middle, sheet
from ..scenes.words.lexicon import languages
from ..spec import Overrides, Side, whole
from .clip import DIRECTIONS
from .config import ClipConfig

Picture = Literal["sheet", "middle"]


PICTURES: Mapping[str, Callable[[Tensor], Tensor]] = {"sheet": sheet, "middle": middle}


"""Functions that make a row's picture, by name: nine frames side by side, or the one in the middle."""


@dataclass(frozen=True)
class ClipPreset:
    """A world of clips; ``validations`` and ``tests`` override some of its options.

    Attributes:
        name: after ``clips:``.
        about: in one line.
        config: of all splits, but for what a split overrides.
        version: raised whenever a clip of it would change.
        seed: of the world.
        train, validation, test: rows of training, and of each validation and test split.
        validations, tests: the splits, with the options that they override.
        languages: of the captions, the one that evaluation uses first.
        pixels: side of a frame.
        picture: what a row's picture is.
    """

    name: str
    about: str
    config: ClipConfig
    version: int = 1
    seed: int = 0
    train: int = 4_000
    validation: int = 300
    test: int = 500
    validations: Overrides = field(default_factory=lambda: {"as trained": {}})
    tests: Overrides = field(
        default_factory=lambda: {"as trained": {}, "other artist": {"artists": "openmoji"}}
    )
    languages: tuple[str, ...] = ("en",)
    pixels: int = 48
    picture: Picture = "sheet"

    @property
    def splits(self) -> dict[tuple[Side, str], tuple[int, ClipConfig]]:
        """Return the rows and the configuration of every split.

        Raises:
            ValueError: if the options of a split contradict each other.
        """
        found: dict[tuple[Side, str], tuple[int, ClipConfig]] = {("train", ""): (self.train, self.config)}
        others: tuple[tuple[Side, int, Overrides], ...] = (
            ("validation", self.validation, self.validations),
            ("test", self.test, self.tests),
        )
        for side, count, turned in others:
            for name, changes in turned.items():
                config = self.config.changed(changes, f"clips:{self.name}, {side} {name!r}")
                found[side, name] = count, config
        return found

    def changed(self, options: Mapping[str, str]) -> ClipPreset:
        """The preset with some options as they are written on a command line.

        Raises:
            UnknownName: for an option that neither the configuration nor the preset has.
            ValueError: for a value that it cannot have.
        """
        config = {name: text for name, text in options.items() if name in ClipConfig.model_fields}
        for name in options:
            if name not in config and name not in _OPTIONS:
                raise unknown("option of clips", name, [*_OPTIONS, *ClipConfig.model_fields])
        own: dict[str, Any] = dict(whole("clips", options, _LEAST))
        if "languages" in options:
            own["languages"] = languages(options["languages"])
        if "picture" in options:
            if options["picture"] not in PICTURES:
                raise unknown("picture of a clip", options["picture"], PICTURES)
            own["picture"] = options["picture"]
        return replace(self, config=self.config.changed(config, f"clips:{self.name}"), **own)


_LEAST = {"seed": 0, "train": 1, "validation": 1, "test": 1, "pixels": 16}


_OPTIONS = (*_LEAST, "languages", "picture")


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
        ),
    )
}


"""Worlds with names, which do not change under one version."""
