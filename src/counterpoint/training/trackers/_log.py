"""Log of a run's numbers: all trackers as one, of which those elsewhere may fail."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, final

from ...reasons import reason
from ..record.metrics import FILE
from ._registry import TRACKERS
from ._tracker import Tracker
from .parquet import Parquet


@final
class MetricLog:
    """Numbers of a run over time, given to its trackers: Parquet always, others where they are asked for.

    A tracker that fails, whatever the reason, is told of once and left alone from then on; what it lacks it is given
    when the run goes on, and so is one that is asked for only then.

    Args:
        folder: the run folder; without one nothing is kept.
        track: the names of trackers besides Parquet.
        since: the step that the run goes on from; its numbers up to there are taken up.

    Raises:
        DamagedFileError: if these cannot be read.

    Warns:
        UserWarning: for a tracker that fails.
    """

    def __init__(self, folder: Path | None, track: Sequence[str] = (), since: int = 0) -> None:
        self.folder, self._file = folder, None if folder is None else Parquet(folder, since)
        self._others: dict[str, Tracker] = {}
        if folder is not None and self._file is not None:
            for name in dict.fromkeys(track):
                self._try(name, lambda name=name: self._open(name, folder, since))  # type: ignore[misc] # bound now

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end("failed" if isinstance(error, Exception) else "")

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add the numbers of a step, all at once."""
        if self._file is not None:
            self._file.add(step, values)
        self._each(lambda tracker: tracker.add(step, values))

    def save(self) -> None:
        """Write what was added."""
        if self._file is not None:
            self._file.save()
        self._each(lambda tracker: tracker.save())

    def close(self, status: str = "success") -> None:
        """Write what was added; the run has ended."""
        if self._file is not None:
            self._file.close(status)
        self._end(status)

    def _end(self, status: str) -> None:
        self._each(lambda tracker: tracker.close(status))
        self._others.clear()

    def _open(self, name: str, folder: Path, since: int) -> None:
        kind: type[Tracker] = TRACKERS.get(name)
        if kind is Parquet:
            return
        assert self._file is not None
        self._others[name] = tracker = kind(folder, since)
        for step, values in self._file.after(tracker.sent):
            tracker.add(step, values)

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._others.items()):
            self._try(name, lambda tracker=tracker: act(tracker))  # type: ignore[misc] # bound now

    def _try(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # whatever it is, the run is worth more
            self._others.pop(name, None)
            assert self.folder is not None
            warnings.warn(
                f"{name} takes no more numbers of this run ({reason(error)}); training goes on, and all of them are in "
                f"{self.folder / FILE}",
                stacklevel=4,
            )
