"""The units of work of a study: arm × seed × task, each in a folder of its own and never done twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ...data.base import Data, view_size
from ...data.pictured import PairedData
from ...data.source import load_pairs
from ...evaluation import RunResults, evaluate
from ...evaluation.task import NotApplicableError, subsample_by_hash
from ...execution import OnProgress, ResourceRequest, UnitProgress
from ...files import DamagedFileError, write_json, write_table
from ...forms import validated
from ...spec import Spec
from ...training.folder import remedy
from ...training.record.provenance import FILE as PROVENANCE
from ...training.record.provenance import Provenance, rows_of
from ...types import Assistant, Prompt, Scores
from ..layout import run_folder
from ..scored import RunScores
from . import model as models
from .arm import DecodingArm
from .design import DecodingDesign
from .transcript import FILE as REPLIES
from .transcript import Transcript, TranscriptAssistant

Tests = Mapping[str, Int[np.ndarray, " _"]]
"""Rows of each test set by its name, any number of rows each."""


@dataclass(frozen=True)
class DecodingUnit:
    """One arm asked one task under one seed."""

    arm: str
    seed: int
    task: str
    folder: Path

    @property
    def finished(self) -> bool:
        return (self.folder / "scores.json").exists()


def units(design: DecodingDesign, folder: Path) -> list[DecodingUnit]:
    """List all units of a study; seed by seed, so that an unfinished study has whole seeds."""
    slugs = {arm: DecodingArm.parse(arm).slug for arm in design.roles}
    return [
        DecodingUnit(arm, seed, task, run_folder(folder, slugs[arm], seed) / Spec.parse(task).slug)
        for seed in design.seeds
        for task in design.tasks
        for arm in design.roles
    ]


def data_of(design: DecodingDesign) -> PairedData:
    """Open the data of a study, its pictures as large as the model looks at them."""
    # Files are stored larger than the views that training cuts from them; here they are shown whole.
    return load_pairs(design.data, view_size(design.image_size))


def tests(data: PairedData, limit: int) -> Tests:
    """Return the rows of every test set that are asked about: those whose ids have the smallest hashes."""
    selected = {}
    for name, rows in data.splits.test.items():
        if len(rows):
            rows = np.asarray(rows)
            selected[name] = rows[subsample_by_hash(data, rows, limit, "decoding")]
    if not selected:
        raise ValueError(f"{data.name!r} has no test set to ask about")
    return selected


def ask(
    task: str, assistant: Assistant, data: PairedData, rows: Tests, seed: int
) -> dict[str, tuple[Scores, ...]]:
    """Compute the scores of a task on every test set that has what the task asks about.

    Raises:
        NotApplicableError: if none has.
    """
    scores: dict[str, tuple[Scores, ...]] = {}
    reasons = []
    for name, of_test in rows.items():
        try:
            scores |= evaluate(assistant, data, (task,), {name: of_test}, seed=seed).by_test
        except NotApplicableError as reason:
            reasons.append(str(reason))
    if not scores:
        raise NotApplicableError(reasons[0])
    return scores


@final
@dataclass(frozen=True, eq=False)
class Session:
    """Model and data that all units of a study share, each opened when it is first asked for.

    Attributes:
        design: of the study.
        batch_size: prompts that are decoded at once.
        function: a model that is no path: a function from a decoding method to an assistant.
    """

    design: DecodingDesign
    batch_size: int
    function: models.Assistants | None = None

    @cached_property
    def data(self) -> PairedData:
        return data_of(self.design)

    @cached_property
    def rows(self) -> Tests:
        return tests(self.data, self.design.limit)

    @cached_property
    def weights(self) -> Mapping[str, str]:
        """Digests of the model's files by its name, as far as they are known."""
        return {} if self.function is not None else models.digests(self.design.model)

    @cached_property
    def assistants(self) -> models.Assistants:
        return self.function or models.load(self.design.model, self.design.sampling, self.batch_size)

    def assistant(self, arm: str, seed: int) -> Assistant:
        """Return the model that decodes in an arm's way, under a seed."""
        return self.assistants(DecodingArm.parse(arm).method(seed))

    def plain(self) -> dict[str, Any]:
        if self.function is not None:
            raise TypeError(
                "a model that is given as a function can be asked in this process alone: give its path, or leave out "
                "the executor"
            )
        return {"design": self.design.plain(), "batch_size": self.batch_size}


@lru_cache(1)
def _session(written: str) -> Session:
    plain = json.loads(written)
    known = {key: value for key, value in plain["design"].items() if key not in ("format", "kind")}
    return Session(validated(DecodingDesign, DecodingDesign.fields_of(known)), plain["batch_size"])


@final
@dataclass(frozen=True)
class Asking:
    """A unit together with the model and the data that it needs.

    Attributes:
        unit: what is asked.
        session: what it is asked of and about.
        needs: of the unit.
    """

    unit: DecodingUnit
    session: Session
    needs: ResourceRequest = field(default_factory=ResourceRequest)

    lighter: ClassVar[str] = "a smaller --batch-size needs less memory"

    @property
    def key(self) -> str:
        return f"{self.unit.arm}, {self.unit.task}, seed {self.unit.seed}"

    @property
    def folder(self) -> Path:
        return self.unit.folder

    def read(self) -> Path | None:
        """Return the folder once its files are written."""
        return self.folder if self.unit.finished else None

    def made_of(self, data: Data) -> Provenance:
        """Return the provenance that the unit would have if the unit began now."""
        arm = self.unit.arm
        method = {arm: repr(DecodingArm.parse(arm).method())}
        return Provenance(
            data=dict(data.fingerprint.parts), weights=dict(self.session.weights), method=method
        )

    def check_files(self) -> None:
        """Read all that the unit has so far.

        Raises:
            DamagedFileError: for a file that cannot be read.
        """
        read_unit(self.unit)

    def work(self, on_progress: OnProgress) -> Path:
        """Ask what has not been asked yet, and write the unit's files; ``scores.json`` comes last.

        Whatever stops it, the replies so far are kept.
        """
        self.made_of(self.session.data).keep(self.session.data, self.folder)
        transcript = Transcript.read(self.folder)
        before, start = transcript.seconds, time.perf_counter()
        replies = 0

        def notify(prompts: int) -> None:
            nonlocal replies
            replies += prompts
            on_progress(UnitProgress(replies, note="replies"))

        try:
            assistant = self.session.assistant(self.unit.arm, self.unit.seed)
            remembering = TranscriptAssistant(assistant, transcript, notify)
            results = RunResults(
                ask(self.unit.task, remembering, self.session.data, self.session.rows, self.unit.seed)
            )
        finally:
            transcript.seconds = before + time.perf_counter() - start
            transcript.write(self.folder)
        write_table(self.folder / "examples.parquet", results.examples())
        write_json(self.folder / "scores.json", results.scores())
        return self.folder

    def outcome(self, result: Path) -> str:
        return "done"

    def plain(self) -> dict[str, Any]:
        unit = {"arm": self.unit.arm, "seed": self.unit.seed, "task": self.unit.task}
        return {"unit": unit, "session": self.session.plain()}

    @classmethod
    def parse(cls, plain: dict[str, Any], folder: Path, needs: ResourceRequest) -> Asking:
        session = _session(json.dumps(plain["session"], sort_keys=True))
        return cls(DecodingUnit(**plain["unit"], folder=folder), session, needs)


def read_unit(unit: DecodingUnit) -> Transcript:
    """Return the transcript of a unit, all of whose files have been read.

    Raises:
        DamagedFileError: for a file that cannot be read.
    """
    transcript = Transcript.read(unit.folder)
    if unit.finished or (unit.folder / PROVENANCE).exists():
        rows_of(unit.folder)
    if unit.finished:
        if not (unit.folder / REPLIES).exists():
            raise DamagedFileError(unit.folder / REPLIES, "it is missing", remedy(unit.folder))
        _ = RunScores(unit.folder).tables  # reads both of its files
    return transcript


def applies(task: str, data: PairedData, rows: Tests) -> bool:
    """Return whether the data has what a task asks about, found without a model.

    Raises:
        UnknownNameError: for a task that does not exist.
    """
    try:
        ask(task, _Stopping(), data, rows, seed=0)
    except NotApplicableError:
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


def by_arm(units: Sequence[DecodingUnit]) -> Iterator[tuple[str, list[DecodingUnit]]]:
    """Yield the units of each arm, in the order in which the arms come."""
    for arm in dict.fromkeys(unit.arm for unit in units):
        yield arm, [unit for unit in units if unit.arm == arm]
