"""The condition of every verdict: the runs of a study were made of the same, and scored on the same examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..data.base import PairedData
from ..files import Damaged
from ..training import provenance
from ..training.provenance import Provenance
from ..training.run import OtherRun
from .design import OtherStudy
from .numbers import RunScores
from .training_run import TrainingRun


def check_made_of_the_same(work: Sequence[TrainingRun], data: PairedData, place: Path) -> None:
    """Check that the runs a study has already are made of what the next ones will be.

    Raises:
        OtherStudy: if they are not; the message names what differs, and the runs.
    """
    found: dict[str, list[str]] = {}
    for unit in work:
        with suppress(Damaged):  # such a run will be repeated
            for change in provenance.changes(unit.run, data, unit.folder):
                found.setdefault(change, []).append(str(unit.folder.relative_to(place)))
    if found:
        runs = dict.fromkeys(run for those in found.values() for run in those)
        raise OtherStudy(
            f"{'; '.join(found)} since the study in {place} began: give another folder with --out, "
            f"or delete these runs: {', '.join(runs)}"
        )


def check_agreement(runs: Mapping[tuple[str, int], Path], place: Path) -> None:
    """Check that finished runs can be compared: of the same data all, of the same loss and weights each arm's.

    Args:
        runs: their folders by arm and seed; those that say nothing of what they were made of are passed over.
        place: the study's folder.

    Raises:
        OtherRun: if they cannot; the message names what differs, between which two.
    """
    first: tuple[Path, Provenance] | None = None
    of_arm: dict[str, tuple[Path, Provenance]] = {}
    for (arm, _), folder in runs.items():
        own = Provenance.read(folder)
        if own is None:
            continue
        first = first or (folder, own)
        if own.data != first[1].data:
            counted = provenance.counts(
                first[1].data, own.data, provenance.rows_of(first[0]), provenance.rows_of(folder)
            )
            _refuse(f"their data differ ({counted})", first[0], folder, place)
        before = of_arm.setdefault(arm, (folder, own))
        if own.loss != before[1].loss:
            _refuse(f"{', '.join(own.loss)} changed between them", before[0], folder, place)
        if own.weights != before[1].weights:
            _refuse(f"{', '.join(own.weights)} changed between them", before[0], folder, place)


def check_examples(runs: Mapping[Path, RunScores], place: Path) -> None:
    """Check by their ids that finished runs were scored on the same examples, whatever is known of their data.

    Raises:
        OtherRun: if they were not; the message names the test set and two runs.
    """
    seen: dict[tuple[str, str], tuple[Path, frozenset[int]]] = {}
    for folder, scored in runs.items():
        for part, ids in scored.examples.items():
            one, expected = seen.setdefault(part, (folder, ids))
            if ids != expected:
                task, test = part
                differing = len(ids ^ expected)
                _refuse(f"{differing} examples of {task} ({test}) are in one alone", one, folder, place)


def _refuse(reason: str, one: Path, other: Path, place: Path) -> None:
    raise OtherRun(
        f"{one.relative_to(place)} and {other.relative_to(place)} of {place} cannot be compared: {reason}; "
        "delete one of them, then run the study's compare command again"
    )
