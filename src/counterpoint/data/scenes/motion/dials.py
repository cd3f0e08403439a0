"""Every dial of a world of clips, one frozen type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from ....recipes.schema import Fraction, Section
from ....registry import unknown
from ..backgrounds import BACKGROUNDS
from ..concepts import CONCEPTS
from ..dials import ARTIST_NAMES, ArtistName
from ..scene import COLOURS, Colour
from .clip import ACTIONS, Action

Setting = Literal["none", "count", "relation"]
SETTINGS: tuple[Setting, ...] = get_args(Setting)
COUNTS = (2, 3, 4)
"""How many alike things a setting counts."""
FRAMES_PER_EVENT = 3
"""At least so many, or order could not be seen."""
Number = Annotated[int, Field(ge=1, le=3)]

_KNOWN: Mapping[str, tuple[str, ...]] = {
    "actions": ACTIONS,
    "settings": SETTINGS,
    "concepts": tuple(name for name, concept in CONCEPTS.items() if concept.kind != "container"),
    "colours": COLOURS,
    "backgrounds": tuple(BACKGROUNDS),
    "artists": ARTIST_NAMES,
}


class ClipDials(Section):
    """What the clips of a world are like. On the command line: ``events=2-3``, ``actions=appear+vanish``.

    Attributes:
        events: the fewest and the most events, one after the other, each of another thing.
        actions: what may happen.
        settings: what there is besides, each as likely: nothing, two to four things that are alike, or two things in
            a relation.
        concepts: what there is; every one of a clip is another, but for what is counted.
        tinted: probability that a thing is dyed; what changes its colour always is.
        colours: to dye with.
        backgrounds: each as likely.
        artists: who drew the things; one for a whole clip.
        frames: of every clip.
        sensor_rate: measurements per frame of the sensor stream.
        sensor_noise: standard deviation of what is added to each, in thousandths of a side per frame².
        missing_pictures, missing_captions, missing_sensors: fraction of rows that lack the modality.

    >>> ClipDials(events="2-3").events
    (2, 3)

    Raises:
        ValueError: for an unknown dial or name, a dial out of range, or too few frames for the events.
    """

    events: tuple[Number, Number] = (1, 3)
    actions: tuple[Action, ...] = ACTIONS
    settings: tuple[Setting, ...] = SETTINGS
    concepts: tuple[str, ...] = _KNOWN["concepts"]
    tinted: Fraction = 0.5
    colours: tuple[Colour, ...] = COLOURS
    backgrounds: tuple[str, ...] = ("white", "cream", "pale blue", "pale green")
    artists: tuple[ArtistName, ...] = ("twemoji",)
    frames: Annotated[int, Field(ge=FRAMES_PER_EVENT, le=240)] = 12
    sensor_rate: Annotated[int, Field(ge=1, le=100)] = 4
    sensor_noise: Annotated[float, Field(ge=0)] = 0.0
    missing_pictures: Fraction = 0.0
    missing_captions: Fraction = 0.0
    missing_sensors: Fraction = 0.0

    @field_validator("events", mode="before")
    @classmethod
    def _range(cls, value: Any) -> Any:
        if isinstance(value, str):
            low, _, high = value.partition("-")
            return (low, high or low)
        return (value, value) if isinstance(value, int) else value

    @field_validator(*_KNOWN, mode="before")
    @classmethod
    def _names(cls, value: Any, info: Any) -> Any:
        names = tuple(value.split("+")) if isinstance(value, str) else tuple(value)
        for name in names:
            if name not in _KNOWN[info.field_name]:
                raise unknown(info.field_name, str(name), _KNOWN[info.field_name])
        if not names or len(set(names)) < len(names):
            raise ValueError(f"expected at least one, and none twice; got {', '.join(names) or 'none'}")
        return names

    @model_validator(mode="after")
    def _possible(self) -> Self:
        low, high = self.events
        if low > high:
            raise ValueError(f"events goes from the fewest to the most, got {low}-{high}")
        if self.frames < FRAMES_PER_EVENT * high:
            raise ValueError(
                f"{high} events need {FRAMES_PER_EVENT * high} frames or more, got {self.frames}: set frames"
            )
        if len(self.concepts) < high + 3:
            raise ValueError(
                f"{high} events, two things besides and another one to confuse them with need {high + 3} concepts, "
                f"got {len(self.concepts)}"
            )
        if len(self.colours) < 2:
            raise ValueError(f"colours must be two or more, to change between, got {', '.join(self.colours)}")
        return self

    def changed(self, changes: Mapping[str, Any], origin: str = "dials") -> ClipDials:
        """The dials with some turned; values may be as written on a command line.

        Raises:
            ValueError: as the class says.
        """
        try:
            return ClipDials.model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"][:1])
            reason = first["msg"].removeprefix("Value error, ")
            raise ValueError(f"{origin}: {place + ': ' if place else ''}{reason}") from None
