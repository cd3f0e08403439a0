"""A study of any kind: its folder and summary, the steps that all kinds take, and those of each kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..execution import Executor, FollowUp, Listener, WorkList, leased
from .damage import set_aside_damaged
from .decoding.conclusions import answer
from .decoding.design import DecodingDesign
from .decoding.summary import read_results as read_replies
from .decoding.summary import summarise as summarise_replies
from .decoding.tables import COSTS, write_costs
from .design import Design, FolderDesign, kind_of
from .results import StudyResults
from .schema import DecodingSummary, StudySummary, TrainingSummary
from .summary import read_results, summarise
from .unit import StudyUnit
from .words.conclusion import conclusion
from .words.tables import write_tables
from .words.terminal import CostsOf, training_costs

D = TypeVar("D", bound=FolderDesign)
S = TypeVar("S", bound=StudySummary)
C = TypeVar("C")

OnCost = Callable[[D, Mapping[str, C]], bool]
"""Called with the design and the cost of every arm before a study starts; a False stops it there."""


REPORT = "report.html"
"""The last file that is written of a study."""


REPORTED = FollowUp("report", more=False)
"""The report, which comes when the last units of a study are done."""


class DryRunExit(Exception):
    """The study was only to be planned."""


@dataclass(frozen=True)
class StudyType(Generic[D, S]):
    """A kind of study: the steps that each kind takes in its own way, once its units are done.

    Attributes:
        design: the content of ``study.yaml``.
        summary: the content of ``summary.json``.
        read_results: reads the runs of a design from its folder.
        summarise: computes the summary of such runs.
        answer: puts the summary's answer into a few lines.
        costs: rows of cost in tables.
        write: writes what stands beside the summary and the tables of its numbers.
    """

    design: type[D]
    summary: type[S]
    read_results: Callable[[D, Path], StudyResults[Any]]
    summarise: Callable[[StudyResults[Any], D], S]
    answer: Callable[[S], list[str]]
    costs: CostsOf
    write: Callable[[Path, S], None]


def _write_training(folder: Path, summary: TrainingSummary) -> None:
    from .report import write_report

    write_report(folder, summary)


def _write_decoding(folder: Path, summary: DecodingSummary) -> None:
    from .report.decoding import write_report

    write_costs(summary, folder)
    write_report(folder, summary)


_KINDS: tuple[StudyType[Any, Any], ...] = (
    StudyType(Design, TrainingSummary, read_results, summarise, conclusion, training_costs, _write_training),
    StudyType(
        DecodingDesign,
        DecodingSummary,
        read_replies,
        summarise_replies,
        answer,
        lambda summary: COSTS,
        _write_decoding,
    ),
)
KINDS: Mapping[str, StudyType[Any, Any]] = {kind.design.kind: kind for kind in _KINDS}


@dataclass(frozen=True)
class Study(Generic[S]):
    """A finished study: its folder and what it found.

    Attributes:
        folder: where it is.
        summary: the content of ``summary.json``.
    """

    folder: Path
    summary: S

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Study[Any]:
        """Read a study from its folder.

        Raises:
            ValueError: if the folder holds no finished study.
            DamagedFileError: if its summary cannot be read.
        """
        path = Path(folder)
        return Study(path, KINDS[kind_of(path) or Design.kind].summary.read(path))

    @property
    def kind(self) -> StudyType[Any, S]:
        """Return the kind of the study."""
        return next(kind for kind in KINDS.values() if isinstance(self.summary, kind.summary))

    @property
    def report(self) -> Path:
        """The report page."""
        return self.folder / REPORT

    @property
    def sentences(self) -> list[str]:
        """Return in words what the primary metric says about each pair of arms."""
        primary = self.summary.primary.key
        return [d.sentence for d in self.summary.differences if d.key == primary]

    @property
    def conclusion(self) -> list[str]:
        """Return the answer in a few lines: who is ahead and by how much, or what each way of decoding is worth."""
        return self.kind.answer(self.summary)

    def write(self) -> None:
        """Write the summary, the tables and the report."""
        self.summary.write(self.folder)
        write_tables(self.summary, self.folder)
        self.kind.write(self.folder, self.summary)


def folder_of(folder: str | os.PathLike[str] | None, words: Iterable[str]) -> Path:
    """Return the folder of a study: the one that is given, else one below ``runs`` that is named after some words.

    Raises:
        ValueError: for the empty name, which would be the current folder.
    """
    if folder is None:
        return Path("runs") / "-".join(words)[:80]
    if not os.fspath(folder):
        raise ValueError("folder must name a folder, got nothing")
    return Path(folder)


def carry_out(
    title: str,
    units: Sequence[StudyUnit[Any]],
    folder: Path,
    executor: Executor,
    listener: Listener,
    then: FollowUp = REPORTED,
) -> None:
    """Carry out units of a study; those that are damaged are set aside first, and done anew.

    The study's folder lists them, so that others can take some (see `counterpoint.execution.work`).

    Args:
        title: of the work.
        units: what is to be done.
        folder: the study's.
        executor: carries them out.
        listener: told of every event.
        then: what comes when all are done, where others have done them.

    Raises:
        HandedOver: if others carry them out, after this process.
    """
    set_aside_damaged(units)
    with suppress(TypeError):  # other processes cannot be told of all of them
        WorkList.of(title, units, folder, then).write(folder)
    listener.begin(title, units)
    executor.carry_out(units, listener, folder)


def report(folder: Path) -> None:
    """End a study whose units are all done, where nobody has done so yet."""
    written = folder / REPORT
    ends = [
        path.stat().st_mtime
        for order in WorkList.read(folder).orders
        for path in order.folder_in(folder).glob("*")
    ]
    if not written.exists() or written.stat().st_mtime < max(ends, default=0.0):
        resummarise(folder)


def finish(design: FolderDesign, folder: Path) -> Study[Any]:
    """Summarise and describe all that is finished in a folder.

    That is the folder's whole study, or this design alone where another command still adds arms or seeds: who ends last
    describes them all.
    """
    kind = KINDS[design.kind]
    with leased(folder, wait=True):
        whole = design.read(folder, design.margin) or design
        results = kind.read_results(whole, folder)
        if results.unfinished and whole != design:
            whole, results = design, kind.read_results(design, folder)
        study = Study(folder, kind.summarise(results, whole))
        study.write()
    return study


def resummarise(folder: str | os.PathLike[str], margin: float | None = None) -> Study[Any]:
    """Summarise a study's finished runs anew and write its tables and report; no model is needed.

    Args:
        folder: the study's.
        margin: another margin of equivalence than before; the study keeps it.

    Raises:
        ValueError: if the folder holds no study, or no finished run.
    """
    path = Path(folder)
    kind = kind_of(path)
    if kind is None:
        raise ValueError(f"{path} is not a study folder: it has no study.yaml")
    design: FolderDesign = KINDS[kind].design.read(path, margin)
    if margin is not None:
        with leased(path, wait=True):
            design.reserve(path)
    return finish(design, path)
