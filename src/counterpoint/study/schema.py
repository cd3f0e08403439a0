"""Content of ``summary.json``: the numbers of a study's arms, their differences with verdicts, and what follows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict

from ..files import FORMAT, read_json, write_json
from .decoding.arm import Role
from .design import ArmPlan
from .training.convergence import LearntScalar

Key = tuple[str, str, str, str]
"""Task, test set, subset, metric."""


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]
"""Number that may not exist: NaN and infinities, which JSON cannot carry, are None."""


class SummaryPart(BaseModel):
    """A part of a summary."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MetricSummary(SummaryPart):
    """A metric of a task on a test set, or on a subset of one.

    Attributes:
        subset: ``"all"``, or the name of the subset.
    """

    task: str
    test: str
    subset: str
    metric: str

    @property
    def key(self) -> Key:
        return self.task, self.test, self.subset, self.metric

    @classmethod
    def of(cls, key: Key) -> MetricSummary:
        """Return the metric of a key."""
        task, test, subset, metric = key
        return MetricSummary(task=task, test=test, subset=subset, metric=metric)


class ScoreSummary(MetricSummary):
    """A number of one arm.

    Attributes:
        mean: over seeds.
        low, high: the 95 % interval over seeds and examples.
        seeds: the number under each seed.
        n: examples.
        chance: the score of guessing at random.
        constant: the score of the best answer that is the same for all examples.
    """

    mean: Number
    low: Number
    high: Number
    seeds: dict[str, Number]
    n: int
    chance: Number
    constant: Number
    higher_is_better: bool


class RequiredSeeds(SummaryPart):
    """Seeds that would show a difference.

    Attributes:
        effect: the difference.
        n: the number of seeds; None where no number is enough.
        examples_factor: the size of the test set that would be, in times of this one's.
        at_least: ``n`` is a lower bound, since it follows from fewer than 3 seeds.
    """

    effect: float
    n: int | None
    examples_factor: Number
    at_least: bool


class DifferenceSummary(MetricSummary):
    """A difference between two arms, ``a`` − ``b``, with its verdict on ``a``.

    Attributes:
        p_holm: the p-value, corrected for all tests of its family.
        verdict: a value of `counterpoint.statistics.Verdict`.
        family: ``"main"``, ``"by subset"``, ``"on other labels"`` or ``"on metrics of some arms"``.
        sentence: the same in words.
        seeds_needed: None with one seed, and where the runs agree on every example.
    """

    a: str
    b: str
    estimate: Number
    low: Number
    high: Number
    p: Number
    p_holm: Number
    verdict: str
    n_seeds: int
    n_failed: int
    notes: tuple[str, ...]
    family: str
    sentence: str
    seeds_needed: RequiredSeeds | None

    @property
    def firm(self) -> bool:
        """Return whether the verdict is more than suggestive."""
        return ": " not in self.verdict

    @property
    def kind(self) -> str:
        """Return the verdict without its strength: as ``"better"`` or ``"equivalent"``."""
        return self.verdict.rpartition(": ")[2]


class FailedRun(SummaryPart):
    """A run that failed, or cannot be read."""

    seed: int
    reason: str


class TrainingCostSummary(SummaryPart):
    """Cost of training; ``passes`` are of examples through towers, by modality."""

    passes: dict[str, int]


class TrainingCost(TrainingCostSummary):
    """Cost of an arm's runs: means over seeds of times, the most of memory, of one run the rest.

    Attributes:
        waiting_seconds: of ``seconds``, those that runs waited for data.
        rows: that it trained on.
        left_out: rows to train on that lack a column which its method reads and cannot do without.
    """

    seconds: float
    waiting_seconds: float
    peak_memory_bytes: int
    parameters: int
    trained_parameters: int
    images_seen: int
    rows: int
    left_out: int
    late_gain: Number
    improving: bool | None
    evaluation_seconds: float


class DecodingCost(SummaryPart):
    """Cost of an arm's replies; ``relative_…`` are in times of plain decoding, None where they are not known."""

    seconds: float
    prompts: int
    seconds_per_prompt: Number
    passes: dict[str, int]
    positions: dict[str, int]
    relative_passes: Number
    relative_positions: Number
    relative_seconds: Number = None


class ArmSummary(SummaryPart):
    """An arm of any study.

    Attributes:
        slug: its name as that of a folder.
        learns: the sources that it learns from, in words; empty where nothing is trained.
        unfinished: seeds whose runs are not finished.
        metrics: its numbers.
    """

    name: str
    slug: str
    learns: str = ""
    failed: tuple[FailedRun, ...]
    unfinished: tuple[int, ...]
    metrics: tuple[ScoreSummary, ...]
    cost: TrainingCost | DecodingCost

    def score(self, key: Key) -> ScoreSummary | None:
        """Return the number of a metric; None where the arm has none."""
        return next((score for score in self.metrics if score.key == key), None)


class TrainedArm(ArmSummary):
    """An arm of a training study.

    Attributes:
        label: its name without the folders of files.
        diagnostics: numbers by test set, means over seeds.
        learnt: what the first run learnt as scalars.
    """

    label: str
    steps: int
    cost: TrainingCost
    diagnostics: dict[str, dict[str, Number]]
    learnt: tuple[LearntScalar, ...]


class AskedArm(ArmSummary):
    """An arm of a decoding study.

    Attributes:
        role: plain sampling, the plausibility rule of a method alone, or a method.
        rule: the arm that is the method's rule alone.
        python: the code for ``custom_generate``.
    """

    role: Role
    rule: str | None
    python: str
    cost: DecodingCost


class Winner(SummaryPart):
    """The arm to use, and its use."""

    name: str
    folder: str = ""
    command: str
    python: str


class SearchSummary(TrainingCostSummary):
    """The search of an arm: its cost, and what it chose."""

    arm: str
    trials: int
    failed: int
    seconds: float
    chosen: dict[str, Any]


class Worth(MetricSummary):
    """A conclusion on a method; see `counterpoint.study.decoding.conclusions`."""

    arm: str
    kind: str
    firm: bool
    text: str


class StudySummary(SummaryPart):
    """A summary of any study.

    Attributes:
        title: of the report page; empty where none was given.
        seeds: those that have a run.
        environment: of a run.
        primary: the metric that the verdict is about first.
        of_some: the metrics beside the main ones that some arms alone have: of a classifier of their own, or of columns
            that others do not embed.
        multiplicity: what the differences were corrected for.
        reference: the arm that each other one is compared with; empty where all pairs are compared, and where arms are
            compared at several numbers of shots.
    """

    format: int = FORMAT
    title: str
    data: str
    seeds: tuple[int, ...]
    margin: float
    environment: dict[str, Any]
    primary: MetricSummary
    of_some: tuple[MetricSummary, ...] = ()
    arms: tuple[ArmSummary, ...]
    differences: tuple[DifferenceSummary, ...]
    multiplicity: str
    reference: str = ""
    warnings: tuple[str, ...]
    winner: Winner
    cannot_show: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the summary of a study.

        Raises:
            ValueError: if the folder holds no finished study.
            DamagedFileError: if it cannot be read.
        """
        path = folder / "summary.json"
        if not path.exists():
            raise ValueError(f"{folder} holds no finished study: it has no summary.json")
        return read_json(path, cls, f"counterpoint report {folder} writes it again")

    def write(self, folder: Path) -> None:
        write_json(folder / "summary.json", self.plain())

    def plain(self) -> dict[str, Any]:
        """Return the summary as JSON can carry it."""
        return self.model_dump(mode="json")


class TrainingSummary(StudySummary):
    """A summary of a training study; ``labels`` says what methods learn from, as the study was asked.

    Attributes:
        tasks: by name, as the study was asked.
    """

    labels: str
    tasks: tuple[str, ...]
    budget: str
    tune: int
    recipe: dict[str, Any]
    plans: dict[str, ArmPlan]
    arms: tuple[TrainedArm, ...]
    tuning: tuple[SearchSummary, ...]


class DecodingSummary(StudySummary):
    """A summary of a decoding study; ``attribution`` must stand wherever pictures of the data are shown."""

    kind: Literal["decoding"] = "decoding"
    model: str
    tasks: tuple[str, ...]
    limit: int
    sampling: Mapping[str, float | int]
    image_size: int
    weights: str
    attribution: str
    arms: tuple[AskedArm, ...]
    conclusions: tuple[Worth, ...]
