"""Long clips: segments, each of one thing with a sentence about it; what is key, and what a query asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ....raw import Sentence, Subtitles
from ...rng import Rng
from ..scenes.config import ARTIST_NAMES, SIDES
from ..scenes.scene import Scene, Thing
from ..scenes.words.grammar import grammar
from .long_config import MOST_FRAMES, LongClipConfig
from .words.captions import look_of

SECONDS = 2.0
"""Seconds that a frame lasts."""
LONGEST = 3
"""Frames of a segment, at most."""
SHOWN, LARGE = 2.0, 4.0
"""The saliency of a frame that shows what a query asks for, small or large; that of others is 0."""


@dataclass(frozen=True, slots=True)
class ClipSegment:
    """Some frames of one thing, and the sentence about it.

    Attributes:
        thing: as it is in the first frame, were it small there.
        step: the distance that it moves to the right from each frame to the next, in thousandths.
        frames: of the segment.
        large_from: the first of its frames in which the thing is large; as many as there are for none.
        stressed: the sentence names the thing twice.
    """

    thing: Thing
    step: int
    frames: int
    large_from: int
    stressed: bool

    @property
    def is_key(self) -> bool:
        """Whether it has key frames, and its sentence is key."""
        return self.stressed and self.large_from < self.frames


@dataclass(frozen=True, slots=True)
class LongClip:
    """Everything that is true of a long clip.

    A frame is key if its thing is large and the sentence of its segment names the thing twice. A sentence is key if it
    names its thing twice and one of the frames of its segment is key. Neither can be told from frames alone, nor from
    sentences alone.

    Attributes:
        index: in its world.
        segments: in their order.
        background: of all frames.
        asked: the number of the segment whose thing the query names.

    >>> cat = Thing("cat", "red", "small", 180, 300, 500)
    >>> segments = (ClipSegment(cat, 0, 2, 1, True), ClipSegment(cat, 0, 1, 1, True), ClipSegment(cat, 0, 1, 0, False))
    >>> clip = LongClip(0, segments, "white", 0)
    >>> clip.key_frames, clip.key_sentences, clip.saliency
    ([0, 1, 0, 0], [1, 0, 0], [2.0, 4.0, 2.0, 4.0])
    """

    index: int
    segments: tuple[ClipSegment, ...]
    background: str
    asked: int

    @property
    def frames(self) -> list[tuple[ClipSegment, int]]:
        """The segment of each frame, and the frame's number within it."""
        return [(segment, number) for segment in self.segments for number in range(segment.frames)]

    @property
    def scenes(self) -> list[Scene]:
        """The scene that each frame shows."""
        return [Scene(self.index, (_thing(*it),), background=self.background) for it in self.frames]

    @property
    def key_frames(self) -> list[int]:
        return [int(segment.stressed and number >= segment.large_from) for segment, number in self.frames]

    @property
    def key_sentences(self) -> list[int]:
        return [int(segment.is_key) for segment in self.segments]

    @property
    def moments(self) -> list[int]:
        """1 for each frame that shows what the query asks for."""
        return [int(it > 0) for it in self.saliency]

    @property
    def saliency(self) -> list[float]:
        """Of each frame 0, or `SHOWN` or `LARGE` where it shows what the query asks for."""
        asked = look_of(self.segments[self.asked].thing)
        return [
            (LARGE if number >= segment.large_from else SHOWN) if look_of(segment.thing) == asked else 0.0
            for segment, number in self.frames
        ]

    @property
    def query(self) -> str:
        return _named(self.segments[self.asked])

    @property
    def transcript(self) -> Subtitles:
        """The sentence of each segment; it lasts as long as the segment."""
        sentences, start = [], 0
        for segment in self.segments:
            name, end = _named(segment), start + segment.frames
            text = f"look at {name}, yes, {name}" if segment.stressed else f"here is {name}"
            sentences.append(Sentence(SECONDS * start, SECONDS * end, text))
            start = end
        return Subtitles(tuple(sentences), SECONDS * start)


def compose_long_clip(config: LongClipConfig, seed: int, index: int, stream: str = "") -> LongClip:
    """Compose the clip with this number: a function of the arguments alone.

    At least one segment is key, and at least one is not.

    >>> compose_long_clip(LongClipConfig(), 0, 7) == compose_long_clip(LongClipConfig(), 0, 7)
    True
    """
    draws = Rng(seed, index, stream)
    count = draws.integer("segments", *config.segments)
    things = [(concept, colour) for concept in config.concepts for colour in config.colours]
    new = iter(draws.sample("thing", things, count))
    key, other = draws.sample("key", range(count), 2)
    artist = ARTIST_NAMES.index(draws.choice("artist", config.artists))
    segments: list[ClipSegment] = []
    left = MOST_FRAMES
    for k in range(count):
        frames = draws.integer(f"frames {k}", 1, min(LONGEST, left - (count - k - 1)))
        left -= frames
        repeated = k > 0 and k != key and segments[-1].is_key
        if repeated and draws.happens(f"duplicate {k}", config.near_duplicates):
            segments.append(_near_duplicate(draws, segments[-1], k, frames))
            continue
        concept, colour = next(new)
        if k > 1 and draws.happens(f"returns {k}", config.returns):
            earlier = draws.choice(f"earlier {k}", segments[: k - 1]).thing
            concept, colour = earlier.concept, earlier.colour or colour
        x, y = (draws.integer(f"{axis} {k}", 280, 720) for axis in ("x", "y"))
        side = draws.integer(f"side {k}", *SIDES["small"])
        is_large = k == key or draws.happens(f"large {k}", config.large)
        segments.append(
            ClipSegment(
                Thing(concept, colour, "small", side, x, y, artist),
                draws.integer(f"step {k}", -20, 20),
                frames,
                draws.integer(f"large from {k}", 0, frames - 1) if is_large else frames,
                k == key or (k != other and draws.happens(f"stressed {k}", config.stressed)),
            )
        )
    background = draws.choice("background", config.backgrounds)
    return LongClip(index, tuple(segments), background, draws.integer("asked", 0, count - 1))


def _near_duplicate(draws: Rng, segment: ClipSegment, k: int, frames: int) -> ClipSegment:
    """Return a segment of nearly the same frames, whose sentence names the thing once."""
    shift = draws.integer(f"shift {k}", -10, 10)
    thing = replace(segment.thing, x=segment.thing.x + shift)
    return replace(
        segment, thing=thing, frames=frames, large_from=min(segment.large_from, frames), stressed=False
    )


def _thing(segment: ClipSegment, number: int) -> Thing:
    thing = replace(segment.thing, x=segment.thing.x + number * segment.step)
    if number < segment.large_from:
        return thing
    return replace(thing, size="large", side=SIDES["large"][0] + thing.side - SIDES["small"][0])


def _named(segment: ClipSegment) -> str:
    return grammar("en").phrase(look_of(segment.thing)).text
