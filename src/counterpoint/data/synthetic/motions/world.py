"""``motions``: recordings of several devices on one body, with sentences of what is done, as a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self, final

import numpy as np
from jaxtyping import Float32

from ....raw import Series
from ....registry import unknown
from ....spec import Spec
from ...base import Data, Rows
from ...labels import Classes
from ..config import names
from ..preset import preset_of
from ..world import SyntheticData
from .activity import ACTIVITIES, DEVICES, Motion, captions
from .config import USERS, MotionConfig, compose_motion
from .measuring import CHANNELS, measure
from .presets import PRESETS, MotionPreset

COLUMNS: Mapping[str, str] = MappingProxyType({**dict.fromkeys(DEVICES, "series"), "text": "text"})


@final
class Motions(SyntheticData[MotionConfig, Motion]):
    """People in motion, of a preset: a column for each device that is worn, and sentences of what is done.

    A row is a recording, in which one activity may follow another. Its labels are ``activity``, the one that goes on
    for longest, and ``user``.

    Args:
        preset: what the rows are like, and how many there are.
        name: how the user named it.
        columns: some of the columns, in this order; all unless given.

    >>> world = Motions.parse("motions:basic,train=300")
    >>> world.read("wrist", np.array([0, 1])).measured.shape, world.read("text", np.array([2]))
    (torch.Size([2, 160, 6]), ['somebody sweeps the floor'])
    """

    preset: MotionPreset
    presets = PRESETS
    gaps = MappingProxyType(
        {**{device: (device, "missing_devices") for device in DEVICES}, "text": ("text", "missing_captions")}
    )

    def __init__(self, preset: MotionPreset, name: str = "", columns: Sequence[str] = tuple(COLUMNS)) -> None:
        super().__init__(preset, name)
        self.columns = {column: COLUMNS[column] for column in columns}

    def __reduce__(self) -> tuple[Callable[..., Data], tuple[Any, ...]]:
        return type(self), (self.preset, self.name, tuple(self.columns))

    @classmethod
    def parse(cls, source: str) -> Self:
        """Return a world as it is written: ``motions:PRESET``, then options after commas.

        ``columns=ankle+hip`` chooses some of its columns.

        Raises:
            UnknownNameError: for an unknown preset, option or column.
            ValueError: for a value that an option cannot have, or an option without one.
        """
        spec = Spec.parse(source)
        options = dict(spec.options)
        columns = names("column of motions", options.pop("columns", tuple(COLUMNS)), tuple(COLUMNS))
        return cls(preset_of(Spec(spec.name, options), PRESETS), str(spec), columns)

    def make(self, config: MotionConfig, index: int, stream: str) -> Motion:
        return compose_motion(config, self.preset.seed, index, stream)

    def motion(self, row: int) -> Motion:
        """Return who moves in a row, and how."""
        return self.made(row)

    def read(self, column: str, rows: Rows) -> Any:
        if column not in self.columns:
            raise unknown(f"column of {self.name}", column, self.columns)
        if column == "text":
            return [self.captions(int(row))[0] for row in rows]
        return Series.of([self._measured(column, int(row)) for row in rows], CHANNELS)

    def read_training(self, column: str, rows: Rows) -> Any:
        return [self.captions(int(row)) for row in rows] if column == "text" else self.read(column, rows)

    def captions(self, row: int) -> Sequence[str]:
        """Return two sentences of what is done in a row; an empty one if the text is missing."""
        return [""] if self.lacks("text", row) else captions(self.motion(row))

    def _measured(self, device: str, row: int) -> Float32[np.ndarray, "T channels"]:
        config, motion = self.config(row), self.motion(row)
        if self.lacks(device, row):
            return np.zeros((motion.steps, len(CHANNELS)), np.float32)
        return measure(motion, device, config, self.preset.seed, self.draws(row))

    @cached_property
    def subsets(self) -> np.ndarray:
        """Return the subset of each row: one activity, or several."""
        counts = [len(self.motion(row).stretches) for row in range(len(self))]
        return np.where(np.array(counts) > 1, "several activities", "one activity")

    @cached_property
    def labels(self) -> Mapping[str, Classes]:
        motions = [self.motion(row) for row in range(len(self))]
        nouns = tuple(activity.noun for activity in ACTIVITIES.values())
        activities = np.array([list(ACTIVITIES).index(motion.longest) for motion in motions])
        users = tuple(f"user {number}" for number in range(USERS))
        return {
            "activity": Classes(nouns, activities, ("{}", "somebody who is {}")),
            "user": Classes(users, np.array([motion.user for motion in motions])),
        }
