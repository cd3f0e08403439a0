"""``speech``: scenes whose captions are spoken, as a data set of sounds, texts and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self, final

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from ....networks.base import FormedInput, Input
from ....raw import Waves
from ...base import Data, Rows
from ...labels import Classes
from ...pictured import PairedData
from ...rng import Rng
from ...views.keys import white
from ...views.waves import level
from ..scenes.concepts import CONCEPTS
from ..scenes.items.labels import label_sets
from ..scenes.layout.compose import compose
from ..scenes.pixels.render import draw
from ..scenes.pixels.sprites import credit_line
from ..scenes.scene import Scene, Thing
from ..scenes.words import captions
from ..world import GREY, SyntheticData
from .config import SPEAKERS, Speaker, SpeechConfig
from .presets import PRESETS, SpeechPreset
from .speaking import SpokenText, Utterance, engine, speak_blocks

RATE = 16_000
"""Samples per second unless a tower takes another number."""
BLOCK = 100
"""Rows that are spoken in one process, one after the other."""
_SILENCE = 0.5  # seconds in place of speech that is missing
_PITCHES, _SPEEDS = (-25, 25), (85, 115)
# of people, above and in percent of their voice's


@final
class Speech(SyntheticData[SpeechConfig, Scene], PairedData):
    """Spoken scenes of a preset: sounds, texts and pictures that say the same.

    The text is the plainest caption of a scene, in training and in evaluation; speech says its words. It is synthesised
    when it is first asked for, and kept in the cache. Labels are those of the scenes, and ``words`` (the thing that is
    named first) and ``speaker`` (the voice, or the person); `spoken` knows when each word and each phoneme is said.

    Args:
        preset: what the rows are like, and how many there are.
        name: how the user named it.
        rate: samples a second.

    >>> world = Speech.parse("speech:basic,train=300")
    >>> world.utterance(0).text, world.captions(0)
    ('a small blue apple below a brown mouse', ['a small blue apple below a brown mouse'])
    """

    columns: Mapping[str, str] = MappingProxyType({"audio": "audio", "text": "text", "image": "image"})
    preset: SpeechPreset
    presets = PRESETS
    gaps = MappingProxyType(
        {
            "audio": ("speech", "missing_speech"),
            "text": ("caption", "missing_captions"),
            "image": ("picture", "missing_pictures"),
        }
    )

    def __init__(self, preset: SpeechPreset, name: str = "", rate: int = RATE) -> None:
        super().__init__(preset, name)
        self.rate = rate
        self.attribution = credit_line({artist for config in self.configs for artist in config.artists})
        self._blocks: dict[int, list[SpokenText]] = {}

    def __reduce__(self) -> tuple[Callable[..., Data], tuple[Any, ...]]:
        return type(self), (self.preset, self.name, self.rate)

    def made_of(self) -> str:
        return f"{super().made_of()}, {engine()}"

    def make(self, config: SpeechConfig, index: int, stream: str) -> Scene:
        return compose(config, self.preset.seed, index, stream)

    def scene(self, row: int) -> Scene:
        """Return what is spoken of in a row, and shown in its picture."""
        return self.made(row)

    def caption(self, row: int) -> str:
        """Return the caption of a row, whether it lacks it or not."""
        return captions.short(self.scene(row)).text

    def utterance(self, row: int) -> Utterance:
        """Return what is said in a row and how, whether it lacks it or not."""
        config, draws = self.config(row), self.draws(row)
        words = self.caption(row).split()
        kept = [k for k in range(len(words)) if not draws.happens(f"unspoken {k}", config.unspoken)]
        kept = kept or [draws.integer("spoken", 0, len(words) - 1)]
        pauses = tuple(
            draws.integer(f"pause {k}", *config.pause)
            if k != kept[0] and draws.happens(f"paused {k}", config.pauses)
            else 0
            for k in kept
        )
        voice, pitch, pace = self._voice(row)
        speed = round(draws.integer("speed", *config.speed) * pace / 100)
        text = " ".join(words[k] for k in kept)
        return Utterance(text, voice, speed, pauses if any(pauses) else (), pitch)

    def number(self, row: int) -> int:
        """Return the number of the person who speaks in a row; 0 where a voice speaks that is nobody's."""
        people = self.config(row).people
        return self.draws(row).integer("person", *people) if people[1] else 0

    def _voice(self, row: int) -> tuple[Speaker, int, int]:
        """Return the voice of a row, its pitch above that voice's own, and its speed in percent of that."""
        speakers, number = self.config(row).speakers, self.number(row)
        if not number:
            return self.draws(row).choice("speaker", speakers), 0, 100
        person = Rng(self.preset.seed, number, "person")  # the same in every row and split
        return (
            person.choice("speaker", speakers),
            person.integer("pitch", *_PITCHES),
            person.integer("speed", *_SPEEDS),
        )

    def spoken(self, rows: Rows) -> list[SpokenText]:
        """Return the speech of some rows without noise, whether they lack it or not.

        Raises:
            MissingPackageError: if ``espeakng-loader`` is not installed.
            CacheError: if the cache folder cannot be written.
        """
        places = [self._block_and_index(int(row)) for row in rows]
        missing = sorted({first for first, _ in places} - self._blocks.keys())
        blocks = [[self.utterance(row) for row in range(first, self._end(first))] for first in missing]
        self._blocks |= zip(missing, speak_blocks(blocks, self.rate), strict=True)
        return [self._blocks[first][number] for first, number in places]

    def _block_and_index(self, row: int) -> tuple[int, int]:
        """Return the first row of the block that a row is spoken in, and its number there."""
        number = (row - self._starts[self._split(row)]) % BLOCK
        return row - number, number

    def _end(self, first: int) -> int:
        return min(first + BLOCK, self._starts[self._split(first) + 1])

    def lacks(self, column: str, row: int) -> bool:
        if column == "image":
            return super().lacks(column, row)
        config = self.config(row)
        drawn = self.draws(row).uniform("missing")  # one draw of both, so that no row lacks both
        return drawn < config.missing_speech if column == "audio" else drawn >= 1 - config.missing_captions

    def read(self, column: str, rows: Rows) -> Any:
        if column == "audio":
            return Waves.of(
                [self._waveform(int(row), one) for row, one in self._with_speech(rows)], self.rate
            )
        return super().read(column, rows)

    def _with_speech(self, rows: Rows) -> list[tuple[int, SpokenText | None]]:
        """Return some rows with their speech; rows that lack it are not spoken for that."""
        present = [int(row) for row in rows if not self.lacks("audio", int(row))]
        spoken = dict(zip(present, self.spoken(np.array(present, int)), strict=True))
        return [(int(row), spoken.get(int(row))) for row in rows]

    def _waveform(self, row: int, spoken: SpokenText | None) -> Float32[np.ndarray, " T"]:
        if spoken is None:
            return np.zeros(round(_SILENCE * self.rate), np.float32)
        samples = spoken.samples.astype(np.float32) / 32768
        config, draws = self.config(row), self.draws(row)
        if draws.happens("noise", config.noise):
            below = draws.integer("level", *config.levels)
            key = np.array([draws.word("white")], np.uint64)
            samples = samples + np.float32(10 ** (-below / 20) * level(samples)) * white(key, len(samples))
        return samples

    def captions(self, row: int) -> Sequence[str]:
        """Return the caption of a row; empty if it is missing."""
        return ["" if self.lacks("text", row) else self.caption(row)]

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        """Return the pictures of some rows, grey where they are missing."""
        pictures = draw([self.scene(int(row)) for row in rows], self.preset.pixels).pictures
        pictures[~self.present("image", rows)] = GREY
        return pictures

    @cached_property
    def subsets(self) -> np.ndarray:
        """Return the subset of each row: its speaker."""
        return np.array([self.utterance(row).voice for row in range(len(self))])

    @cached_property
    def labels(self) -> Mapping[str, Classes]:
        """The ways to classify what is said: those of scenes, ``words`` (what is named first) and ``speaker``."""
        of_scenes = {name: one for name, one in label_sets(self).items() if name != "background"}
        utterances = [self.utterance(row) for row in range(len(self))]
        first = [self._first(row) for row in range(len(self))]
        concepts = [name for name in CONCEPTS if any(name in config.concepts for config in self.configs)]
        words = [
            captions.phrase(Thing(name, None, "medium", 240, 500, 500), determiner="") for name in concepts
        ]
        places = {name: index for index, name in enumerate(concepts)}
        return {
            **of_scenes,
            "words": Classes(
                tuple(words), np.array([places.get(name, -1) for name in first]), ("{}", "a {}")
            ),
            "speaker": self._speakers([one.voice for one in utterances]),
        }

    def _speakers(self, voices: Sequence[str]) -> Classes:
        """Return who speaks in every row: of people their numbers, else the voices."""
        numbers = [self.number(row) for row in range(len(self))]
        if any(numbers):
            who = [
                f"person {number}" if number else voice for number, voice in zip(numbers, voices, strict=True)
            ]
            known = {f"person {number}": number for number in sorted(set(numbers) - {0})}
            names = [*(name for name in SPEAKERS if name in who), *known]
            return Classes(tuple(names), _indices(who, names), ("{}",))
        names = [name for name in SPEAKERS if any(name in config.speakers for config in self.configs)]
        return Classes(tuple(names), _indices(voices, names), ("the {} voice",))

    def _first(self, row: int) -> str:
        """Return the concept of what a row's caption names first; none of an empty scene."""
        scene = self.scene(row)
        mentions = captions.short(scene).mentions
        return scene.things[mentions[0].things[0]].concept if mentions else ""

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        heard = inputs.get("audio")
        if not isinstance(heard, FormedInput) or heard.form == self.rate:
            return self
        return type(self)(self.preset, self.name, heard.form).learning(self.learned)


def _indices(values: Sequence[str], names: Sequence[str]) -> Int64[np.ndarray, " n"]:
    index = {name: number for number, name in enumerate(names)}
    return np.array([index[value] for value in values])
