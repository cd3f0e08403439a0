"""The configuration of a world of clips: every option, one frozen type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from ....forms import Fraction
from ..config import WorldConfig
from ..scenes.concepts import CONCEPTS
from ..scenes.config import ARTIST_NAMES, ArtistName, Share
from ..scenes.layout.compositions import together
from ..scenes.pixels.backgrounds import BACKGROUNDS
from ..scenes.scene import COLOURS, Colour
from .clip import ACTIONS, Action

Setting = Literal["none", "count", "relation"]
SETTINGS: tuple[Setting, ...] = get_args(Setting)
COUNTS = (2, 3, 4)
"""The numbers of alike things that the setting ``count`` shows."""
FRAMES_PER_EVENT = 3
"""The least number of frames per event; with fewer, the order of events could not be seen."""
Number = Annotated[int, Field(ge=1, le=3)]

_CONCEPTS = tuple(name for name, concept in CONCEPTS.items() if concept.kind != "container")


class ClipConfig(WorldConfig):
    """The configuration of a world of clips. On the command line: ``events=2-3``, ``actions=appear+vanish``.

    Attributes:
        events: the fewest and the most events, one after the other, each of another thing.
        actions: what may happen.
        settings: what there is besides, each as likely: nothing, two to four things that are alike, or two things in
            a relation.
        concepts: what there is; every one of a clip is another, but for what is counted.
        pair_compositions: ``train`` shows only concepts together of which every pair is for training
            (:mod:`counterpoint.data.synthetic.scenes.layout.compositions`); ``validation`` or ``test`` lets something
            happen to two things whose concepts are a pair of that part, and needs ``events=2``.
        tinted: probability that a thing is dyed; what changes its colour always is.
        colours: to dye with.
        backgrounds: each as likely.
        artists: who drew the things; one for a whole clip.
        frames: of every clip.
        twins: rows come in twos, of which the second is the first with its first and its last event in each other's
            place; nothing else differs.
        sensor_rate: measurements per frame of the sensor stream.
        sensor_noise: standard deviation of what is added to each, in thousandths of a side per frame².
        missing_pictures, missing_captions, missing_sensors: fraction of rows that lack the modality.

    >>> ClipConfig(events="2-3").events
    (2, 3)

    Raises:
        ValueError: for an unknown option or name, a value out of range, or too few frames for the events.
    """

    ranges: ClassVar[tuple[str, ...]] = ("events",)
    known: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "actions": ACTIONS,
        "settings": SETTINGS,
        "concepts": _CONCEPTS,
        "colours": COLOURS,
        "backgrounds": tuple(BACKGROUNDS),
        "artists": ARTIST_NAMES,
    }
    events: tuple[Number, Number] = (1, 3)
    actions: tuple[Action, ...] = ACTIONS
    settings: tuple[Setting, ...] = SETTINGS
    concepts: tuple[str, ...] = _CONCEPTS
    pair_compositions: Share = "any"
    tinted: Fraction = 0.5
    colours: tuple[Colour, ...] = COLOURS
    backgrounds: tuple[str, ...] = ("white", "cream", "pale blue", "pale green")
    artists: tuple[ArtistName, ...] = ("twemoji",)
    frames: Annotated[int, Field(ge=FRAMES_PER_EVENT, le=240)] = 12
    twins: bool = False
    sensor_rate: Annotated[int, Field(ge=1, le=100)] = 4
    sensor_noise: Annotated[float, Field(ge=0)] = 0.0
    missing_pictures: Fraction = 0.0
    missing_captions: Fraction = 0.0
    missing_sensors: Fraction = 0.0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        high = self.events[1]
        if self.frames < FRAMES_PER_EVENT * high:
            raise ValueError(
                f"{high} events need {FRAMES_PER_EVENT * high} frames or more, got {self.frames}: set frames"
            )
        if len(self.concepts) < high + 3:
            raise ValueError(
                f"{high} events, two things besides and another one to confuse them with need {high + 3} concepts, "
                f"got {len(self.concepts)}"
            )
        if self.pair_compositions in ("validation", "test") and self.events != (2, 2):
            raise ValueError(f"pair_compositions={self.pair_compositions} needs events=2, got {self.events}")
        if self.pair_compositions != "any":
            needed = high + 2 if self.pair_compositions == "train" else 2
            if together(self.concepts, needed, self.pair_compositions) is None:
                raise ValueError(
                    f"pair_compositions={self.pair_compositions}: no {needed} of the concepts are pairs of that part "
                    "only; name more concepts"
                )
        if self.twins and self.events[0] < 2:
            raise ValueError(
                f"twins differ in the order of events, and there may be one alone: set events=2-{max(high, 2)}"
            )
        if len(self.colours) < 2:
            raise ValueError(f"colours must be two or more, to change between, got {', '.join(self.colours)}")
        return self
