"""The activities of people in motion: how fast and how strongly each part of a body moves, and their words."""

from __future__ import annotations

from dataclasses import dataclass

DEVICES = ("wrist", "ankle", "hip")
"""Places on a body that devices are worn at."""


@dataclass(frozen=True)
class Activity:
    """One thing that people do over and over.

    Attributes:
        verb: in the third person.
        noun: the activity as a noun.
        hertz: how often it repeats a second, at an ordinary speed.
        strength: of its acceleration, in g.
        gains: how strongly each device takes part, in the order of `DEVICES`.
    """

    verb: str
    noun: str
    hertz: float
    strength: float
    gains: tuple[float, float, float]


ACTIVITIES: dict[str, Activity] = {
    "standing": Activity("stands", "standing", 0.4, 0.03, (1.0, 0.6, 0.8)),
    "walking": Activity("walks", "walking", 1.8, 0.35, (0.8, 1.2, 1.0)),
    "running": Activity("runs", "running", 2.6, 0.9, (1.0, 1.3, 1.0)),
    "climbing": Activity("climbs stairs", "climbing stairs", 1.5, 0.45, (0.7, 1.2, 1.1)),
    "cycling": Activity("cycles", "cycling", 1.3, 0.4, (0.3, 1.3, 0.6)),
    "waving": Activity("waves", "waving", 2.0, 0.6, (1.4, 0.2, 0.4)),
    "sweeping": Activity("sweeps the floor", "sweeping the floor", 1.0, 0.5, (1.2, 0.4, 0.7)),
    "rowing": Activity("rows", "rowing", 0.7, 0.7, (1.1, 0.5, 0.9)),
}
SPEEDS: dict[str, tuple[str, float]] = {
    "slow": ("slowly", 0.85),
    "ordinary": ("", 1.0),
    "fast": ("fast", 1.15),
}
"""Speeds by name: the word for each, and the factor of an activity's frequency."""


@dataclass(frozen=True)
class Stretch:
    """A time in which one activity goes on.

    Attributes:
        activity: its name.
        speed: its name.
        first: the step at which it begins.
    """

    activity: str
    speed: str
    first: int


@dataclass(frozen=True)
class Motion:
    """One recording: who moves, and how, from one transition to the next."""

    user: int
    steps: int
    stretches: tuple[Stretch, ...]

    @property
    def spans(self) -> list[tuple[Stretch, int, int]]:
        """The stretches, each with its first step and the one behind its last."""
        ends = [*(one.first for one in self.stretches[1:]), self.steps]
        return [(one, one.first, end) for one, end in zip(self.stretches, ends, strict=True)]

    @property
    def longest(self) -> str:
        """The activity that goes on for the most steps, the first of those that are alike."""
        steps: dict[str, int] = {}
        for one, first, end in self.spans:
            steps[one.activity] = steps.get(one.activity, 0) + end - first
        return max(steps, key=lambda name: steps[name])


def captions(motion: Motion) -> tuple[str, str]:
    """Return two sentences of what is done, one after the other.

    >>> captions(Motion(0, 100, (Stretch("walking", "fast", 0), Stretch("standing", "ordinary", 60))))
    ('somebody walks fast, then stands', 'walking fast, and after that standing')
    """
    verbs, nouns = [], []
    for one in motion.stretches:
        activity, word = ACTIVITIES[one.activity], SPEEDS[one.speed][0]
        verbs.append(f"{activity.verb} {word}".strip())
        nouns.append(f"{activity.noun} {word}".strip())
    return f"somebody {', then '.join(verbs)}", ", and after that ".join(nouns)
