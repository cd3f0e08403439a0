"""The configuration of long clips, and the world of them by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from ....forms import Fraction
from ..config import WorldConfig
from ..preset import Overrides, Preset
from ..scenes.concepts import CONCEPTS
from ..scenes.config import ARTIST_NAMES, ArtistName
from ..scenes.pixels.backgrounds import BACKGROUNDS
from ..scenes.scene import COLOURS, Colour

MOST_SEGMENTS, MOST_FRAMES = 16, 32
_CONCEPTS = tuple(name for name, concept in CONCEPTS.items() if concept.kind != "container")


class LongClipConfig(WorldConfig):
    """The configuration of a world of long clips. On the command line: ``segments=8-12``, ``near_duplicates=0.5``.

    Attributes:
        segments: the fewest and the most segments of a clip.
        large: probability that the thing of a segment is large from one of its frames on.
        stressed: probability that a sentence names its thing twice.
        returns: probability that a segment shows a thing of an earlier one.
        near_duplicates: probability that a segment with key frames is followed by one of nearly the same frames, whose
            sentence names the thing once, so that none of them is key.
        concepts: what there is.
        colours: to dye with; every thing is dyed.
        backgrounds: each as likely; one for a whole clip.
        artists: who drew the things; one for a whole clip.

    Raises:
        ValueError: for an unknown option or name, and a value out of range.
    """

    ranges: ClassVar[tuple[str, ...]] = ("segments",)
    known: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "concepts": _CONCEPTS,
        "colours": COLOURS,
        "backgrounds": tuple(BACKGROUNDS),
        "artists": ARTIST_NAMES,
    }
    segments: tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(le=MOST_SEGMENTS)]] = (8, 16)
    large: Fraction = 0.5
    stressed: Fraction = 0.5
    returns: Fraction = 0.3
    near_duplicates: Fraction = 0.0
    concepts: tuple[str, ...] = _CONCEPTS
    colours: tuple[Colour, ...] = COLOURS
    backgrounds: tuple[str, ...] = ("white", "cream", "pale blue", "pale green")
    artists: tuple[ArtistName, ...] = ("twemoji",)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (things := len(self.concepts) * len(self.colours)) < self.segments[1]:
            raise ValueError(
                f"{len(self.concepts)} concepts in {len(self.colours)} colours are {things} things, and a clip may "
                f"show {self.segments[1]}: name more concepts or colours"
            )
        return self


@dataclass(frozen=True)
class LongClipPreset(Preset[LongClipConfig]):
    """A world of long clips with a name.

    Attributes:
        pixels: side of a frame.
    """

    world = "clips"

    tests: Overrides = field(
        default_factory=lambda: {"as trained": {}, "other artist": {"artists": "openmoji"}}
    )
    pixels: int = 48


LONG = {
    "long": LongClipPreset(
        "long", "eight to sixteen segments, what is said of each, and what is asked for", LongClipConfig()
    )
}
"""Worlds of long clips with names, which do not change under one version."""
