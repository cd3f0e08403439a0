"""From a configuration to a soundscape, and to one that differs from it in composition alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from ....forms import Fraction
from ....registry import unknown
from ...rng import Rng
from ..config import WorldConfig
from .soundscape import ATTRIBUTES, PITCHED, SOURCES, Attribute, Sound, Soundscape, Source

PAPERS = {"compa": ("twin",)}

MOST = 3
"""The largest number of sounds for which there is time one after the other, even if all are long."""
Twin = Literal["order", "attribute"]
TWINS: tuple[Twin, ...] = get_args(Twin)
Number = Annotated[int, Field(ge=1, le=MOST)]


class SoundConfig(WorldConfig):
    """The configuration of a world of soundscapes. On the command line: ``sounds=2-3``, ``sources=beep+hiss``.

    Attributes:
        sounds: the fewest and the most, each of another source.
        sources: what there is to hear.
        together: probability that two sounds or more are heard at once.
        attributes: what sounds may be besides what they are.
        described: probability of each attribute of each sound that it is one of the two that words say.
        missing_pictures, missing_captions: fraction of rows that lack the sound, or the caption.

    Raises:
        ValueError: for an unknown option or name, a value out of range, or fewer sources than sounds.
    """

    ranges: ClassVar[tuple[str, ...]] = ("sounds",)
    known: ClassVar[Mapping[str, tuple[str, ...]]] = {"sources": SOURCES, "attributes": tuple(ATTRIBUTES)}
    sounds: tuple[Number, Number] = (1, 3)
    sources: tuple[Source, ...] = SOURCES
    together: Fraction = 0.3
    attributes: tuple[Attribute, ...] = tuple(ATTRIBUTES)
    described: Fraction = 0.4
    missing_pictures: Fraction = 0.0
    missing_captions: Fraction = 0.0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        high = self.sounds[1]
        if high > len(self.sources):
            raise ValueError(f"{high} sounds need as many sources, got {len(self.sources)}")
        return self


def compose_sounds(config: SoundConfig, seed: int, index: int, stream: str = "") -> Soundscape:
    """Compose the soundscape with this number: a function of the arguments alone.

    >>> compose_sounds(SoundConfig(), 0, 7) == compose_sounds(SoundConfig(), 0, 7)
    True
    """
    draws = Rng(seed, index, stream)
    count = draws.integer("sounds", *config.sounds)
    sounds = tuple(
        _sound(draws, config, k, source)
        for k, source in enumerate(draws.sample("source", config.sources, count))
    )
    return Soundscape(sounds, count > 1 and draws.happens("together", config.together))


def _sound(draws: Rng, config: SoundConfig, k: int, source: Source) -> Sound:
    attributes = {}
    for name in config.attributes:
        possible = name != "pitch" or source in PITCHED
        if possible and draws.happens(f"described {name} {k}", config.described):
            first, _, last = ATTRIBUTES[name]
            attributes[name] = draws.choice(f"{name} {k}", (first, last))
    return replace(Sound(source), **attributes)  # type: ignore[arg-type] # the values of `ATTRIBUTES`


def alike(one: Soundscape, other: Soundscape) -> bool:
    """Return whether the words for one are true of the other: the same sounds, in the same order where there is one."""
    if one.together != other.together:
        return False
    if one.together:
        return sorted(one.sounds, key=str) == sorted(other.sounds, key=str)
    return one.sounds == other.sounds


def twin(kind: str, scape: Soundscape, draws: Rng) -> Soundscape | None:
    """Return a soundscape of the same words in another composition; None where there is none.

    ``order``: two sounds that follow each other exchange their places. ``attribute``: two sounds exchange what they
    are in one respect, of which both have a word ("a high beep while a low buzz").

    Raises:
        UnknownNameError: for a kind that is not known.

    Source: the two parts of Ghosh et al., "CompA: Addressing the Gap in Compositional Reasoning in Audio-Language
    Models" (2023), arXiv 2310.08753.
    """
    if kind not in _MADE:
        raise unknown("kind of sound twin", kind, TWINS)
    other = _MADE[kind](scape, draws)
    return other if other and not alike(scape, other) else None


def _reordered(scape: Soundscape, draws: Rng) -> Soundscape | None:
    if len(scape.sounds) < 2 or scape.together:
        return None
    i, j = draws.sample("places", range(len(scape.sounds)), 2)
    sounds = list(scape.sounds)
    sounds[i], sounds[j] = sounds[j], sounds[i]
    return replace(scape, sounds=tuple(sounds))


def _exchanged(scape: Soundscape, draws: Rng) -> Soundscape | None:
    options = [
        (name, i, j)
        for name in ATTRIBUTES
        for i, one in enumerate(scape.sounds)
        for j, other in enumerate(scape.sounds[:i])
        if len({getattr(one, name), getattr(other, name), "middle"}) == 3
    ]
    if not options:
        return None
    name, i, j = draws.choice("attribute", options)
    sounds = list(scape.sounds)
    one, other = sounds[i], sounds[j]
    sounds[i] = replace(one, **{name: getattr(other, name)})
    sounds[j] = replace(other, **{name: getattr(one, name)})
    return replace(scape, sounds=tuple(sounds))


_MADE: dict[str, Callable[[Soundscape, Rng], Soundscape | None]] = {
    "order": _reordered,
    "attribute": _exchanged,
}
