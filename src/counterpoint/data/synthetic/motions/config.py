"""From a configuration to a recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from ....forms import Count, Fraction, NonNegative
from ...rng import Rng
from ..config import WorldConfig
from .activity import ACTIVITIES, DEVICES, SPEEDS, Motion, Stretch

USERS = 24
"""The most users that there are."""
SHORTEST = 20
"""The fewest steps of a stretch: a second."""
User = Annotated[int, Field(ge=0, lt=USERS)]
Changes = Annotated[int, Field(ge=0, le=20)]


class MotionConfig(WorldConfig):
    """The configuration of a world of people in motion. On the command line: ``users=0-11``, ``changes=2-4``.

    Attributes:
        users: the first and the last who are measured.
        activities: what they do.
        changes: the fewest and the most transitions from one activity to another within a recording.
        steps: of a recording, 20 a second.
        turned: by at most so many degrees a device is worn otherwise by each user.
        delay: by at most so many steps a device is late.
        noise: the standard deviation of what a device adds, in g.
        loose: devices that are worn loosely: what they add is ten times as much.
        missing_devices: the probability of each device that a recording lacks it.
        missing_captions: fraction of rows that lack the text.

    Raises:
        ValueError: for an unknown option or name, a value out of range, or more transitions than there is time for.
    """

    ranges: ClassVar[tuple[str, ...]] = ("users", "changes")
    known: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "activities": tuple(ACTIVITIES),
        "loose": ("none", *DEVICES),
    }
    users: tuple[User, User] = (0, 11)
    activities: tuple[str, ...] = tuple(ACTIVITIES)
    changes: tuple[Changes, Changes] = (0, 1)
    steps: Count = 160
    turned: NonNegative = 40.0
    delay: Annotated[int, Field(ge=0)] = 3
    noise: NonNegative = 0.05
    loose: tuple[str, ...] = ("none",)
    missing_devices: Fraction = 0.0
    missing_captions: Fraction = 0.0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        most = self.changes[1]
        if self.steps < SHORTEST * (most + 1):
            raise ValueError(
                f"{most} changes take at least {SHORTEST * (most + 1)} steps, and there are {self.steps}"
            )
        if most and len(self.activities) < 2:
            raise ValueError("a change needs two activities")
        return self


def compose_motion(config: MotionConfig, seed: int, index: int, stream: str = "") -> Motion:
    """Compose the recording with this number: a function of the arguments alone.

    >>> compose_motion(MotionConfig(), 0, 7) == compose_motion(MotionConfig(), 0, 7)
    True
    """
    draws = Rng(seed, index, stream)
    count = 1 + draws.integer("changes", *config.changes)
    # Lengths are drawn by giving each spare second to one of the stretches.
    lengths = [SHORTEST] * count
    spare = config.steps - SHORTEST * count
    for part in range(0, spare, SHORTEST):
        lengths[draws.integer(f"spare {part}", 0, count - 1)] += min(SHORTEST, spare - part)
    stretches, first = list[Stretch](), 0
    for number, length in enumerate(lengths):
        others = [name for name in config.activities if not stretches or name != stretches[-1].activity]
        activity, speed = (
            draws.choice(f"activity {number}", others),
            draws.choice(f"speed {number}", tuple(SPEEDS)),
        )
        stretches.append(Stretch(activity, speed, first))
        first += length
    return Motion(draws.integer("user", *config.users), config.steps, tuple(stretches))
