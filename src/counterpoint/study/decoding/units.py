"""The units of work of a study: arm × seed × task, each in a folder of its own and never done twice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ...data.base import PairedData
from ...evaluation.answering import create
from ...evaluation.results import Results
from ...evaluation.task import NotApplicable, chosen
from ...files import write_json, writing
from ...types import Assistant, Prompt, Scores
from .arm import DecodingArm
from .design import DecodingDesign
from .transcript import Remembering, Tell, Transcript

Tests = Mapping[str, Int[np.ndarray, " _"]]
"""Named rows, of as many as there are each."""


@dataclass(frozen=True)
class Unit:
    """One arm asked one task under one seed."""

    arm: str
    seed: int
    task: str
    folder: Path

    @property
    def finished(self) -> bool:
        return (self.folder / "scores.json").exists()


def units(design: DecodingDesign, place: Path) -> list[Unit]:
    """All units of a study; seed by seed, so that an unfinished study has whole seeds."""
    return [
        Unit(arm, seed, task, run_folder(place, arm, seed) / task)
        for seed in design.seeds
        for task in design.tasks
        for arm in design.roles
    ]


def run_folder(place: Path, arm: str, seed: int) -> Path:
    return place / "runs" / DecodingArm.parse(arm).slug / f"seed-{seed}"


def tests(data: PairedData, limit: int) -> Tests:
    """The rows of every test set that are asked about: those whose ids have the smallest hashes."""
    found = {}
    for name, rows in data.splits.test.items():
        if len(rows):
            rows = np.asarray(rows)
            found[name] = rows[chosen(data, rows, limit, "decoding")]
    if not found:
        raise ValueError(f"{data.name!r} has no test set to ask about")
    return found


def ask(
    task: str, assistant: Assistant, data: PairedData, rows: Tests, seed: int
) -> dict[str, tuple[Scores, ...]]:
    """The scores of a task on every test set that has what it asks about.

    Raises:
        NotApplicable: if none has.
    """
    found: dict[str, tuple[Scores, ...]] = {}
    reasons = []
    for name, own in rows.items():
        try:
            found[name] = (create(task)(assistant, data, own, seed=seed),)
        except NotApplicable as reason:
            reasons.append(str(reason))
    if not found:
        raise NotApplicable(reasons[0])
    return found


def carry_out(unit: Unit, assistant: Assistant, data: PairedData, rows: Tests, tell: Tell) -> None:
    """Ask what has not been asked yet, and write the unit's files; ``scores.json`` comes last and makes it finished.

    Whatever stops it, the replies so far are kept.
    """
    transcript = Transcript.read(unit.folder)
    before, start = transcript.seconds, time.perf_counter()
    try:
        remembering = Remembering(assistant, transcript, tell)
        results = Results(ask(unit.task, remembering, data, rows, unit.seed))
    finally:
        transcript.seconds = before + time.perf_counter() - start
        transcript.write(unit.folder)
    with writing(unit.folder / "examples.parquet") as part:
        results.examples().write_parquet(part)
    write_json(unit.folder / "scores.json", results.scores())


def applies(task: str, data: PairedData, rows: Tests) -> bool:
    """Whether the data has what a task asks about, found without a model.

    Raises:
        UnknownName: for a task that does not exist.
    """
    try:
        ask(task, _Stopping(), data, rows, seed=0)
    except NotApplicable:
        return False
    except _Asked:
        pass
    return True


class _Asked(Exception):
    """A task has come as far as its first question."""


@final
class _Stopping:
    """An assistant that stops whoever asks."""

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        raise _Asked

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Float[Tensor, "n w"]:
        raise _Asked


def by_arm(units: Sequence[Unit]) -> Iterator[tuple[str, list[Unit]]]:
    """The units of each arm, in the order in which the arms come."""
    for arm in dict.fromkeys(unit.arm for unit in units):
        yield arm, [unit for unit in units if unit.arm == arm]
