"""The configuration of spoken scenes: that of scenes, and how their captions are said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from ....forms import Fraction
from ..scenes.config import SceneConfig

Speaker = Literal["plain", "deep", "rough", "bright", "quick", "scottish"]
SPEAKERS: tuple[Speaker, ...] = get_args(Speaker)
Percent = Annotated[int, Field(ge=1, le=400)]
Decibels = Annotated[int, Field(ge=0, le=60)]
Person = Annotated[int, Field(ge=0, le=1_000_000)]
Milliseconds = Annotated[int, Field(ge=1, le=5_000)]
_OF_SCENES_ALONE = (
    *("label_noise", "one_told", "unsaid", "retold", "hallucinated"),
    *("missing_tables", "lacking", "click_noise", "missing_clicks"),
)


class SpeechConfig(SceneConfig):
    """The configuration of a world of spoken scenes. On the command line: ``speakers=plain+deep``, ``speed=80-120``.

    The options of `counterpoint.data.synthetic.scenes.SceneConfig` say what there is to speak of, but for those that
    make captions say something else, and those of tables and clicks.

    Attributes:
        speakers: the voices, each as likely.
        people: the numbers of the first and the last of those who speak, each as likely; a person has one of the voices
            with a pitch and a speed of their own, the same wherever their number is. The voices themselves speak
            unless given.
        speed: the least and the most, in percent of a voice's own.
        noise: probability that there is white noise.
        levels: how many dB the speech is above it, at least and at most.
        pauses: probability of a pause before a word, the first one apart.
        pause: how long it is at least and at most, in milliseconds.
        unspoken: probability that a word of the caption is not said; one always is.
        missing_speech: fraction of rows that have a caption and no speech.
        missing_captions: fraction of rows that have speech and no caption. No row lacks both.

    Raises:
        ValueError: for an unknown option or name, a value out of range, a person of number 0 beside others, more
            missing rows than there are, or an option of scenes alone.
    """

    ranges: ClassVar[tuple[str, ...]] = (*SceneConfig.ranges, "people", "speed", "levels", "pause")
    known: ClassVar[Mapping[str, tuple[str, ...]]] = {**SceneConfig.known, "speakers": SPEAKERS}
    speakers: tuple[Speaker, ...] = SPEAKERS
    people: tuple[Person, Person] = (0, 0)
    speed: tuple[Percent, Percent] = (100, 100)
    noise: Fraction = 0.0
    levels: tuple[Decibels, Decibels] = (0, 20)
    pauses: Fraction = 0.0
    pause: tuple[Milliseconds, Milliseconds] = (150, 600)
    unspoken: Fraction = 0.0
    missing_speech: Fraction = 0.0

    @model_validator(mode="after")
    def _something_left(self) -> Self:
        if self.missing_speech + self.missing_captions > 1:
            raise ValueError(
                f"missing_speech={self.missing_speech:g} and missing_captions={self.missing_captions:g} are of "
                "different rows, so together at most 1"
            )
        if self.people[0] == 0 < self.people[1]:
            raise ValueError(f"people={self.people[0]}-{self.people[1]}: people are numbered from 1 on")
        for name in _OF_SCENES_ALONE:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} is of scenes alone: speech says what is there, and has no tables and no clicks"
                )
        return self
