"""The condition of every verdict: the runs of a study were made of the same, and scored on the same examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..data.base import Data
from ..files import DamagedFileError
from ..training.record.provenance import Provenance, counts, rows_of
from ..training.run import OtherRunError
from .design import OtherStudyError
from .scored import RunScores
from .unit import StudyUnit


def check_made_of_the_same(work: Iterable[StudyUnit[Any]], data: Data, study: Path) -> None:
    """Check that the units a study has already are made of what the next ones will be.

    Raises:
        OtherStudyError: if they are not; the message names what differs, and the units.
    """
    differing: dict[str, list[str]] = {}
    for unit in work:
        with suppress(DamagedFileError):  # such a unit will be repeated
            for change in unit.made_of(data).changes(data, unit.folder):
                differing.setdefault(change, []).append(str(unit.folder.relative_to(study)))
    if differing:
        runs = dict.fromkeys(run for those in differing.values() for run in those)
        raise OtherStudyError(
            f"{'; '.join(differing)} since the study in {study} began: give another folder with --out, "
            f"or delete these runs: {', '.join(runs)}"
        )


def check_agreement(units: Iterable[Path], study: Path) -> None:
    """Check that finished units can be compared: what they have in common (data, losses, weights) was the same.

    Args:
        units: their folders.
        study: the study's folder.

    Raises:
        OtherRunError: if they cannot; the message names what differs, between which two.
    """
    first: tuple[Path, Provenance] | None = None
    named: dict[tuple[str, str], tuple[Path, str]] = {}
    for folder in units:
        here = Provenance.read(folder)
        first = first or (folder, here)
        if here.data != first[1].data:
            difference = counts(first[1].data, here.data, rows_of(first[0]), rows_of(folder))
            _refuse(f"their data differ ({difference})", first[0], folder, study)
        for part, digest in here.parts.items():
            one, before = named.setdefault(part, (folder, digest))
            if digest != before:
                _refuse(f"{part[1]} changed between them", one, folder, study)


def check_examples(runs: Mapping[Path, RunScores], study: Path) -> None:
    """Check by their ids that finished runs were scored on the same examples.

    Raises:
        OtherRunError: if they were not; the message names the test set and two runs.
    """
    seen: dict[tuple[str, str, tuple[str, ...]], tuple[Path, frozenset[int]]] = {}
    for folder, scored in runs.items():
        for part, ids in scored.examples.items():
            one, expected = seen.setdefault(part, (folder, ids))
            if ids != expected:
                task, test, _ = part
                differing = len(ids ^ expected)
                _refuse(f"{differing} examples of {task} ({test}) are in one alone", one, folder, study)


def _refuse(reason: str, one: Path, other: Path, study: Path) -> None:
    raise OtherRunError(
        f"{one.relative_to(study)} and {other.relative_to(study)} of {study} cannot be compared: {reason}; "
        "delete one of them, then run the study's command again"
    )
