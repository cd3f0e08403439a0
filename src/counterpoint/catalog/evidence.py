"""Evidence: what was measured for a paper's claim, and the verdict that follows from it.

A verdict is computed from an interval, the direction that the paper leads one to expect, and a rule of
refutation that is fixed before the run. It is written into the file for readers, and a file whose verdict
does not follow from its numbers is an error.
"""

from __future__ import annotations

import datetime
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    computed_field,
    model_serializer,
    model_validator,
)

Verdict = Literal["reproduced", "not reproduced", "inconclusive"]
Direction = Literal["above", "below", "within"]

ENOUGH_SEEDS = 5
"""Fewer training seeds than this carry no verdict: intervals over so few are too narrow to trust."""

RESERVE = 2
"""Seeds of a second run by those that would do, since an estimate that did not suffice is often too large."""


def judge(
    expected: Direction,
    low: float | None,
    high: float | None,
    *,
    bound: float = 0.0,
    refuted_at: float | None = None,
    n_seeds: int | None = None,
) -> Verdict:
    """Return the verdict of an interval on an expectation.

    * ``above``: reproduced if ``low > bound``; not reproduced if ``high <= refuted_at``.
    * ``below``: reproduced if ``high < bound``; not reproduced if ``low >= refuted_at``.
    * ``within``: reproduced if ``-bound <= low`` and ``high <= bound``; not reproduced if
      ``low > refuted_at`` or ``high < -refuted_at``.

    Everything else is inconclusive, and so is an interval that is missing, not finite, or from fewer than
    ``ENOUGH_SEEDS`` seeds.

    Args:
        expected: where the paper leads one to expect the value.
        low, high: the ends of the interval.
        bound: what the value is compared with, in the unit of the metric.
        refuted_at: where refutation begins, if not at ``bound`` itself: farther away than it, never nearer.
        n_seeds: how many seeds the interval rests on; None for a value without chance in it.

    >>> judge("above", 0.02, 0.06, n_seeds=5)
    'reproduced'
    >>> judge("above", -0.03, 0.00, n_seeds=5)
    'not reproduced'
    >>> judge("above", -0.01, 0.06, n_seeds=5)
    'inconclusive'
    >>> judge("above", 0.02, 0.06, n_seeds=3)
    'inconclusive'
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "inconclusive"
    if n_seeds is not None and n_seeds < ENOUGH_SEEDS:
        return "inconclusive"
    refuted_at = bound if refuted_at is None else refuted_at
    if expected == "within":
        held, refuted = -bound <= low and high <= bound, low > refuted_at or high < -refuted_at
    elif expected == "above":
        held, refuted = low > bound, high <= refuted_at
    else:
        held, refuted = high < bound, low >= refuted_at
    return "reproduced" if held else "not reproduced" if refuted else "inconclusive"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _verdict_follows(cls, data: Any, handler: ModelWrapValidatorHandler[_Record]) -> _Record:
        """Check a verdict in the input against the numbers; it is never believed."""
        stated = None
        if isinstance(data, dict) and "verdict" in data:
            data = dict(data)
            stated = data.pop("verdict")
        record = handler(data)
        computed = getattr(record, "verdict", None)
        if stated is not None and stated != computed:
            raise ValueError(f"verdict: {stated!r} is stated, but the numbers say {computed!r}")
        return record


class Machine(_Record):
    """The machine that a run had to work with; never the machine's name.

    Attributes:
        cores: CPU cores it could use.
        torch: version of PyTorch, or None where the claim needs none.
        device: ``"cpu"``, or the name of the accelerator's model.
    """

    cores: int = Field(ge=1)
    torch: str | None = None
    device: str = "cpu"


class Needed(_Record):
    """More data that would decide an inconclusive result four times of five, if its value is as estimated.

    Attributes:
        towards: the verdict that the estimate itself would have; inconclusive where it lies between what is asked for
            and what would refute it, so that no data decides.
        effect: the distance from the estimate to where that verdict begins, in the unit of the metric.
        seeds: how many seeds decide it, on the same test examples where ``examples`` is known, or with test examples
            that grow as they do where it is not; None where seeds alone do not decide it.
        examples: how many times the test examples to have, at least, before seeds can help: 1 where the present ones
            do. None where their part in the interval is not known.
    """

    towards: Verdict
    effect: float = Field(ge=0)
    seeds: int | None = Field(default=None, ge=1)
    examples: float | None = Field(default=None, ge=1)


class Result(_Record):
    """One measured value with its interval, and what it says.

    Attributes:
        name: what the value is, in words ("gain of the recipe for CLIP minus gain of the best loss").
        metric: the number it is made of ("zero_shot/group_top1 on held-out concepts").
        expected: where the paper leads one to expect it: ``above`` or ``below`` the bound, ``within`` ±bound.
        bound, refuted_at: the rule; see ``judge``.
        estimate, low, high: the value and its 95 % interval; None where it could not be measured.
        n_seeds: the seeds it rests on; None where chance plays no part.
        decides: whether the verdict on the paper depends on it; others are reported beside it.
        needed: what would decide it, of an inconclusive result; None where that is not known.
    """

    name: str = Field(min_length=1)
    metric: str = Field(min_length=1)
    expected: Direction
    bound: float = 0.0
    refuted_at: float | None = None
    estimate: float | None
    low: float | None
    high: float | None
    n_seeds: int | None = Field(default=None, ge=1)
    decides: bool = True
    needed: Needed | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Result:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low: {self.low} is above high: {self.high}; swap them")
        if self.expected == "within" and self.bound <= 0:
            raise ValueError(f"bound: {self.bound} leaves no room to be within; give a positive margin")
        if self.refuted_at is not None:
            nearer = (
                self.refuted_at > self.bound if self.expected == "above" else self.refuted_at < self.bound
            )
            if nearer:
                raise ValueError(
                    f"refuted_at: {self.refuted_at} would refute what bound: {self.bound} calls reproduced; "
                    "put it at the bound or beyond"
                )
        if self.needed is not None:
            self._check_needed(self.needed)
        return self

    @model_serializer(mode="wrap")
    def _serialised(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Leave out ``needed`` where there is none: files of decided results stay as they are."""
        plain = handler(self)
        if plain["needed"] is None:
            del plain["needed"]
        return plain

    def _check_needed(self, needed: Needed) -> None:
        if self.verdict != "inconclusive":
            raise ValueError(
                f"needed: the verdict is {self.verdict}; only an inconclusive result needs more data"
            )
        towards, effect = self.leaning()
        if towards != needed.towards or not math.isclose(effect, needed.effect, rel_tol=1e-9, abs_tol=1e-12):
            raise ValueError(
                f"needed: {needed.towards} by {needed.effect} is stated, but the estimate says {towards} by {effect}"
            )

    def leaning(self) -> tuple[Verdict, float]:
        """Return the verdict that the estimate itself would have, and how far inside that verdict's range it lies.

        >>> Result(name="gain", metric="R@1", expected="above", estimate=0.2, low=-0.1, high=0.5).leaning()
        ('reproduced', 0.2)
        """
        if self.estimate is None:
            return "inconclusive", 0.0
        refuted_at = self.bound if self.refuted_at is None else self.refuted_at
        towards = judge(
            self.expected, self.estimate, self.estimate, bound=self.bound, refuted_at=self.refuted_at
        )
        if towards == "inconclusive":
            return towards, 0.0
        value = abs(self.estimate) if self.expected == "within" else self.estimate
        return towards, abs(value - (self.bound if towards == "reproduced" else refuted_at))

    @computed_field  # type: ignore[prop-decorator] # mypy knows no decorated property; pydantic documents this form
    @property
    def verdict(self) -> Verdict:
        return judge(
            self.expected,
            self.low,
            self.high,
            bound=self.bound,
            refuted_at=self.refuted_at,
            n_seeds=self.n_seeds,
        )


class Earlier(_Record):
    """A first run that left the verdict open, and so led to a second one on seeds of its own.

    Attributes:
        date: when it ran.
        seconds: how long it took.
        results: those that decide; what they needed says how many seeds the second run was given.
    """

    date: datetime.date
    seconds: float = Field(ge=0)
    results: tuple[Result, ...] = Field(min_length=1)

    @property
    def undecided(self) -> tuple[Result, ...]:
        """Results that are inconclusive."""
        return tuple(result for result in self.results if result.verdict == "inconclusive")

    @property
    def second_seeds(self) -> int | None:
        """Seeds of the run that decides; None where no number of seeds would, as far as is known.

        One refutation refutes a claim, so that the cheapest one counts; without any that leans so, all results have to
        hold, and the dearest counts. Either is taken ``RESERVE`` times.
        """
        needs = [result.needed for result in self.undecided]
        refuting = [n.seeds for n in needs if n and n.seeds and n.towards == "not reproduced"]
        holding = [n.seeds for n in needs if n and n.seeds and n.towards == "reproduced"]
        if refuting:
            return RESERVE * min(refuting)
        return RESERVE * max(holding) if holding and len(holding) == len(needs) else None

    @property
    def second_seconds(self) -> float | None:
        """Seconds that the second run takes on the same machine, if time grows with seeds; None without such a run."""
        had = max((result.n_seeds or 1 for result in self.results), default=1)
        return None if self.second_seeds is None else self.seconds * self.second_seeds / had


class Evidence(_Record):
    """The measurements for one paper: the content of ``evidence/SLUG.json``.

    Attributes:
        slug: the paper.
        claim: what was tested, in a sentence.
        command: how to run it again.
        date: when it ran.
        machine: on what.
        seconds: how long it took.
        results: what was measured, at least one of which decides.
        notes: what a reader should know, such as how the run is smaller than the paper's.
        quick: a smoke run, which proves nothing: its verdict is always inconclusive.
        earlier: the run that left the verdict open, where this one is a second on seeds that the first had not.
    """

    slug: str = Field(min_length=1)
    claim: str = Field(min_length=1)
    command: str = Field(min_length=1)
    date: datetime.date
    machine: Machine
    seconds: float = Field(ge=0)
    results: tuple[Result, ...] = Field(min_length=1)
    notes: str = ""
    quick: bool = False
    earlier: Earlier | None = None

    @model_serializer(mode="wrap")
    def _serialised(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Leave out ``earlier`` where there is none: files of first runs stay as they are."""
        plain = handler(self)
        if plain["earlier"] is None:
            del plain["earlier"]
        return plain

    @model_validator(mode="after")
    def _something_decides(self) -> Evidence:
        if not any(result.decides for result in self.results):
            raise ValueError(
                "results: none of them decides; set decides=True where the claim stands or falls"
            )
        return self

    @computed_field  # type: ignore[prop-decorator] # as above
    @property
    def verdict(self) -> Verdict:
        """Not reproduced if a deciding result is refuted, reproduced if all hold, else inconclusive."""
        verdicts = {result.verdict for result in self.results if result.decides}
        if self.quick:
            return "inconclusive"
        if "not reproduced" in verdicts:
            return "not reproduced"
        return "reproduced" if verdicts == {"reproduced"} else "inconclusive"

    @property
    def undecided(self) -> tuple[Result, ...]:
        """Results that leave the verdict open: those that decide and are inconclusive."""
        if self.verdict != "inconclusive":
            return ()
        return tuple(result for result in self.results if result.decides and result.verdict == "inconclusive")

    def left_open(self) -> Earlier:
        """Return the first run whose open verdict a second one is to decide: this one, or the one before it.

        Raises:
            ValueError: if there is none, or nothing that seeds would decide.
        """
        first = self.earlier
        if first is None and self.undecided and not self.quick:
            first = Earlier(
                date=self.date,
                seconds=self.seconds,
                results=tuple(result for result in self.results if result.decides),
            )
        if first is None:
            state = "a smoke run's, which shows nothing" if self.quick else f"{self.verdict}"
            raise ValueError(
                f"{self.slug}: the evidence is {state}; only an inconclusive one leaves open what more seeds decide"
            )
        if first.second_seeds is None:
            raise ValueError(
                f"{self.slug}: no number of seeds is known to decide it ({first.undecided[0].name}); "
                "other data or a larger experiment would have to"
            )
        return first

    @classmethod
    def read(cls, path: Path) -> Evidence:
        """Read the evidence in a file.

        Raises:
            ValueError: if the file is not valid evidence; names the file and what is wrong.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise ValueError(f"{path} is not valid evidence: {error}") from error

    def write(self, path: Path) -> None:
        """Write the evidence to a file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        draft = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self.model_dump_json(indent=2) + "\n")
            draft.chmod(0o644)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
