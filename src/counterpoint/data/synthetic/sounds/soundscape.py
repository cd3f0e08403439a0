"""The soundscape: sounds with attributes, one after the other or at once; data first, a wave second.

>>> high, low = Sound("beep", pitch="high"), Sound("buzz", pitch="low", loudness="soft")
>>> caption(Soundscape((high, low)))
'a high beep, then a soft low buzz'
>>> caption(Soundscape((high, low), together=True))
'a high beep while a soft low buzz'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Source = Literal[
    "beep", "buzz", "reed", "organ", "bell", "pluck", "whistle", "siren", "trill", "rattle", "hiss", "rumble"
]
Pitch = Literal["low", "middle", "high"]
Loudness = Literal["soft", "middle", "loud"]
Length = Literal["short", "middle", "long"]
Attribute = Literal["pitch", "loudness", "length"]

SOURCES: tuple[Source, ...] = get_args(Source)
PITCHED: tuple[Source, ...] = SOURCES[:9]
"""Sources of which words can say that they are high or low."""
ATTRIBUTES: dict[Attribute, tuple[str, ...]] = {
    "length": get_args(Length),
    "loudness": get_args(Loudness),
    "pitch": get_args(Pitch),
}
"""Values of each attribute, in the order in which English says the attributes; ``middle`` is not said."""


@dataclass(frozen=True, slots=True)
class Sound:
    """One sound.

    Attributes:
        source: what makes it, one of `SOURCES`.
        pitch: ``low`` or ``high``; only of `PITCHED` sources.
        loudness: ``soft`` or ``loud``.
        length: ``short`` or ``long``.

    Raises:
        ValueError: for a pitch of a source that has none.
    """

    source: Source
    pitch: Pitch = "middle"
    loudness: Loudness = "middle"
    length: Length = "middle"

    def __post_init__(self) -> None:
        if self.pitch != "middle" and self.source not in PITCHED:
            raise ValueError(f"a {self.source} has no pitch, so it cannot be {self.pitch}")


@dataclass(frozen=True, slots=True)
class Soundscape:
    """Some sounds, one at least.

    Attributes:
        sounds: one after the other, or at once.
        together: whether two or more are at once; then their order says nothing.

    Raises:
        ValueError: for none, or one that is together with nothing.
    """

    sounds: tuple[Sound, ...]
    together: bool = False

    def __post_init__(self) -> None:
        if len(self.sounds) < 1 + self.together:
            raise ValueError(f"a soundscape is of one sound or more, together of two; got {len(self.sounds)}")


def phrase(sound: Sound) -> str:
    """Return a noun phrase for a sound.

    >>> phrase(Sound("organ", length="long", loudness="loud"))
    'a long loud organ'
    """
    attributes = [value for name in ATTRIBUTES if (value := getattr(sound, name)) != "middle"]
    words = [*attributes, sound.source]
    return f"{'an' if words[0][0] in 'aeiou' else 'a'} {' '.join(words)}"


def caption(scape: Soundscape) -> str:
    """Write the caption of a soundscape: its sounds in their order, in English only."""
    first, *rest = map(phrase, scape.sounds)
    if not scape.together:
        return ", then ".join([first, *rest])
    return f"{first} while {' and '.join(rest)}"
