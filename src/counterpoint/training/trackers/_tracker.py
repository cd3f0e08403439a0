"""Tracker: one place that the numbers of a run go to; and what those elsewhere have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from ...files import read_json, read_yaml, write_json


class Tracker(ABC):
    """Place that the numbers of a run go to.

    Args:
        folder: the run folder.
        since: the step that the run goes on from; the numbers of later steps come again.

    Attributes:
        packages: that it needs, all of the extra ``track``.
        sent: the last step whose numbers it has; −1 for none. It is given those after.
    """

    packages: ClassVar[tuple[str, ...]] = ()
    sent: int = -1

    @abstractmethod
    def __init__(self, folder: Path, since: int) -> None: ...

    @abstractmethod
    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Take the numbers of a step."""

    @abstractmethod
    def save(self) -> None:
        """Make sure that what was added outlives this process."""

    @abstractmethod
    def close(self, status: str) -> None:
        """End for now.

        Args:
            status: ``"success"`` or ``"failed"`` of a run that has ended; ``""`` of one that can go on.
        """


@dataclass(frozen=True)
class _There:
    """State of a remote run: its id, and the last step that it was sent."""

    run: str
    sent: int


class Remote(Tracker):
    """Tracker elsewhere, by one of Lightning's loggers.

    A run that goes on does so in the same remote run, whose id the run folder keeps, and no step is sent twice.
    """

    def __init__(self, folder: Path, since: int) -> None:
        # By the file's name, which is the tracker's.
        self._file = folder / "trackers" / f"{type(self).__module__.rpartition('.')[2]}.json"
        there = (
            read_json(self._file, _There, "delete it: another run is begun there")
            if self._file.exists()
            else None
        )
        self.logger = self.opened(folder, there.run if there else None)
        self.sent = there.sent if there else -1
        if there is None:
            recipe = folder / "recipe.yaml"
            if recipe.exists():
                self.logger.log_hyperparams(read_yaml(recipe, dict, "the run itself says more"))
            self._keep()

    @abstractmethod
    def opened(self, folder: Path, run: str | None) -> Any:
        """Open Lightning's logger of the remote run with an id, or of a new one, whose id its ``version`` is then."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        if step > self.sent:
            self.logger.log_metrics(dict(values), step)
            self.sent = step
            self._keep()

    def save(self) -> None:
        self.logger.save()

    def close(self, status: str) -> None:
        self.save()
        if status:
            self.logger.finalize(status)

    def _keep(self) -> None:
        write_json(self._file, TypeAdapter(_There).dump_python(_There(self.logger.version, self.sent)))
