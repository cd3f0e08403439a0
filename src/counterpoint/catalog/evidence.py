"""Evidence: what was measured for a paper's claim, and the verdict that follows from it.

A verdict is computed from an interval, the direction that the paper leads one to expect, and a rule that is fixed
before the run. It is written into the file for readers, and a file whose verdict does not follow from its numbers is
an error.

A deciding result declares its role and, with it, the smallest effect of interest, a margin or a level; `judge` is the
rule. Results without a role were recorded before there were roles and are judged by `judge_at_bound`.
"""

from __future__ import annotations

import datetime
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

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

from .verdicts import (
    Direction,
    Interval,
    Judgement,
    Role,
    Verdict,
    check_role,
    judge,
    judge_at_bound,
)

RESERVE = 2
"""Seeds of a second run by those that would do, since an estimate that did not suffice is often too large."""

MOST_EXAMPLES = 10
"""Largest factor by which a second run enlarges the test set."""


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


class ThresholdOrigin(_Record):
    """The origin of a smallest effect of interest, a margin or a level.

    Attributes:
        kind: ``paper``: half of the gain that the paper reports, or its own number; ``telescope``: the effect that
            the paper's sample size would have shown with power 1/3; ``convention``: the table of conventions in
            `counterpoint_reproductions.lab.effects`, or a number that was chosen here before the run.
        text: the figures behind it.
    """

    kind: Literal["paper", "telescope", "convention"]
    text: str = Field(min_length=1)


class RequiredData(_Record):
    """More data that would decide an inconclusive result.

    By the estimate: four times of five, if the value is as estimated. By the width: whatever the value is.

    Attributes:
        towards: the verdict that the estimate itself would have; inconclusive where it lies between what is asked for
            and what would refute it, so that no data decides.
        effect: the distance from the estimate to where that verdict begins, in the unit of the metric.
        seeds: how many seeds decide it, on the same test examples where ``examples`` is known, or with test examples
            that grow as they do where it is not; None where seeds alone do not decide it.
        examples: how many times the test examples to have, at least, before seeds can help: 1 where the present ones
            do. None where their part in the interval is not known.
        by: the nearer of two ends: ``width``: the interval is narrower than the smallest effect of interest;
            ``estimate``: the present estimate decides. None of a result without a role.
    """

    towards: Verdict
    effect: float = Field(ge=0)
    seeds: int | None = Field(default=None, ge=1)
    examples: float | None = Field(default=None, ge=1)
    by: Literal["width", "estimate"] | None = None

    @model_serializer(mode="wrap")
    def _serialised(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Leave out ``by`` of results without a role."""
        return _without_none(handler(self), "by")


class Result(_Record):
    """One measured value with its interval, and what it says.

    Attributes:
        name: what the value is, in words ("gain of the recipe for CLIP minus gain of the best loss").
        metric: the number it is made of ("zero_shot/group_top1 on held-out concepts").
        expected: where the paper leads one to expect it: ``above`` or ``below`` the bound, ``within`` ±bound.
        bound: what the value is compared with; a level, or the centre of equivalence. Without a role ``within`` has
            its margin here.
        refuted_at: where refutation begins, of a result without a role; see `judge_at_bound`.
        role: what the claim says of the effect; see `judge`.
        delta: the smallest effect of interest, of superiority.
        margin: the difference that does not matter, of non-inferiority and equivalence; the tolerance of an exact one.
        source: the origin of delta, margin or level.
        estimate, low, high: the value and its 95 % interval; None where it could not be measured.
        wide: the interval at confidence 1 - 0.05/k, where k deciding results depend on chance.
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
    needed: RequiredData | None = None
    role: Role | None = None
    delta: float | None = None
    margin: float | None = None
    source: ThresholdOrigin | None = None
    wide: Interval | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Result:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low: {self.low} is above high: {self.high}; swap them")
        if self.role is None:
            self._check_bound()
        else:
            self._check_role(self.role)
        if self.needed is not None:
            self._check_needed(self.needed)
        return self

    def _check_role(self, role: Role) -> None:
        check_role(role, self.delta, self.margin)
        if role == "superiority" and self.delta == 0:
            raise ValueError(
                "delta: 0 is no effect; give the smallest effect of interest as a positive number"
            )
        if self.refuted_at is not None:
            raise ValueError("refuted_at: a result with a role has none; declare delta, a margin or a level")
        if (role == "equivalence") != (self.expected == "within") and role != "exact":
            raise ValueError(f"role: {role} does not go with a value that is expected {self.expected}")
        if role == "exact" and (
            self.n_seeds is not None or (self.expected == "within") != (self.margin is not None)
        ):
            raise ValueError(
                "role: an exact value has no seeds, and a margin only where it is expected within it"
            )
        if role != "exact" and self.source is None:
            raise ValueError("source: say where delta, the margin or the level comes from")
        if self.wide is not None and not (
            self.low is not None
            and self.high is not None
            and self.wide[0] <= self.low
            and self.high <= self.wide[1]
        ):
            raise ValueError(f"wide: {self.wide} does not contain {self.low} to {self.high}")

    def _check_bound(self) -> None:
        declared = [name for name in ("delta", "margin", "source", "wide") if getattr(self, name) is not None]
        if declared:
            raise ValueError(
                f"role: {', '.join(declared)} given without a role; say which role they belong to"
            )
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

    @model_serializer(mode="wrap")
    def _serialised(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Leave out what only some results have."""
        return _without_none(handler(self), "needed", "role", "delta", "margin", "source", "wide")

    @property
    def chance(self) -> bool:
        """The value depends on chance."""
        return self.n_seeds is not None

    def _check_needed(self, needed: RequiredData) -> None:
        if self.verdict != "inconclusive":
            raise ValueError(
                f"needed: the verdict is {self.verdict}; only an inconclusive result needs more data"
            )
        towards, effect = self.leaning()
        if towards != needed.towards or not math.isclose(effect, needed.effect, rel_tol=1e-9, abs_tol=1e-12):
            raise ValueError(
                f"needed: {needed.towards} by {needed.effect} is stated, but the estimate says {towards} by {effect}"
            )

    def effect(self, value: float) -> float:
        """Return how far a value lies from the bound in the expected direction."""
        return self.bound - value if self.expected == "below" else value - self.bound

    def leaning(self) -> tuple[Verdict, float]:
        """Return the verdict that the estimate itself would have, and how far inside that verdict's range it lies.

        For superiority a reproduced result is as far inside as its effect is above 0, and one that is not as far as its
        effect is below delta.

        >>> Result(name="gain", metric="R@1", expected="above", estimate=0.2, low=-0.1, high=0.5).leaning()
        ('reproduced', 0.2)
        """
        if self.estimate is None:
            return "inconclusive", 0.0
        if self.role is not None:
            effect = self.effect(self.estimate)
            if self.role == "superiority":
                assert self.delta is not None
                return (
                    ("reproduced", effect)
                    if effect >= self.delta
                    else ("not reproduced", self.delta - effect)
                )
            margin = self.margin or 0.0
            inside = margin - abs(effect) if self.expected == "within" else effect + margin
            return ("reproduced" if inside > 0 else "not reproduced"), abs(inside)
        refuted_at = self.bound if self.refuted_at is None else self.refuted_at
        towards = judge_at_bound(
            self.expected, self.estimate, self.estimate, bound=self.bound, refuted_at=self.refuted_at
        )
        if towards == "inconclusive":
            return towards, 0.0
        value = abs(self.estimate) if self.expected == "within" else self.estimate
        return towards, abs(value - (self.bound if towards == "reproduced" else refuted_at))

    @property
    def judgement(self) -> Judgement | None:
        """The verdict with its reason; None of a result without a role."""
        if self.role is None:
            return None
        low, high, wide, bound = self.low, self.high, self.wide, self.bound
        if self.expected == "below":
            low, high = (None if end is None else -end for end in (high, low))
            wide, bound = (None if wide is None else (-wide[1], -wide[0])), -bound
        return judge(
            self.role,
            low,
            high,
            wide,
            bound=bound,
            delta=self.delta,
            margin=self.margin,
            n_seeds=self.n_seeds,
        )

    @computed_field  # type: ignore[prop-decorator] # mypy knows no decorated property; pydantic documents this form
    @property
    def verdict(self) -> Verdict:
        judgement = self.judgement
        if judgement is not None:
            return judgement.verdict
        return judge_at_bound(
            self.expected,
            self.low,
            self.high,
            bound=self.bound,
            refuted_at=self.refuted_at,
            n_seeds=self.n_seeds,
        )


def _without_none(plain: dict[str, Any], *names: str) -> dict[str, Any]:
    """Leave out fields that are None, so that files without them stay as they are."""
    for name in names:
        if plain[name] is None:
            del plain[name]
    return plain


class _Size(NamedTuple):
    """The size of a second run: test examples by those of the first, and seeds; seeds are nearer than examples."""

    examples: float
    seeds: int


class FirstRun(_Record):
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
        """Seeds of the run that decides; None where neither seeds nor a new test set would, as far as is known.

        One refutation refutes a claim, so that the cheapest one counts. Without any that leans so, all results have to
        hold: the run has the most seeds and the largest test set that any of them needs. ``RESERVE`` times as many
        seeds are taken as would do. For a result that a new test set decides, the second run has at least as many
        seeds as the first.
        """
        return None if self._second is None else self._second.seeds

    @property
    def second_examples(self) -> float | None:
        """Test examples of the run that decides by those of the first; None where they would not decide it.

        Only results with a role are decided by test examples, and not if the test set would grow more than
        ``MOST_EXAMPLES`` times.
        """
        return None if self._second is None else self._second.examples

    @property
    def _second(self) -> _Size | None:
        sizes = [(result.leaning()[0], self._size(result)) for result in self.undecided]
        refuting = [size for towards, size in sizes if towards == "not reproduced" and size]
        if refuting:
            return min(refuting)
        holding = [size for towards, size in sizes if towards == "reproduced" and size]
        if not holding or len(holding) < len(sizes):
            return None
        return _Size(max(size.examples for size in holding), max(size.seeds for size in holding))

    def _size(self, result: Result) -> _Size | None:
        """Return the size of a run that decides one result; None if none is known."""
        needed = result.needed
        if needed is None:
            return None
        if needed.seeds is not None:
            return _Size(1.0, math.ceil(RESERVE * needed.seeds))
        if result.role is None or needed.examples is None or needed.examples == 1:
            return None
        examples = RESERVE * needed.examples
        if examples > MOST_EXAMPLES:
            return None
        return _Size(examples, max(other.n_seeds or 1 for other in self.results))

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
        declared: `digest` of the claim's source file as the run began. A claim whose file has another one has changed
            since.
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
    earlier: FirstRun | None = None
    declared: str | None = None

    @model_serializer(mode="wrap")
    def _serialised(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Leave out what only some files have."""
        return _without_none(handler(self), "earlier", "declared")

    @model_validator(mode="after")
    def _something_decides(self) -> Evidence:
        if not any(result.decides for result in self.results):
            raise ValueError(
                "results: none of them decides; set decides=True where the claim stands or falls"
            )
        return self

    @model_validator(mode="after")
    def _all_declare(self) -> Evidence:
        """Check that all deciding results declare a role if one does; that of an exact value need not be stated."""
        deciding = [result for result in self.results if result.decides and result.chance]
        without = [result.name for result in deciding if result.role is None]
        if without and len(without) < len(deciding):
            raise ValueError(
                f"results: {'; '.join(without)}: no role, though other deciding results have one; declare delta, a "
                "margin or a level for each"
            )
        if self.parts > 1:
            for result in deciding:
                if result.role is not None and result.low is not None and result.wide is None:
                    raise ValueError(
                        f"results: {result.name} decides as one of {self.parts}, so it needs wide"
                    )
        return self

    @property
    def parts(self) -> int:
        """The number of deciding results that depend on chance."""
        return sum(result.decides and result.chance for result in self.results)

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

    def left_open(self) -> FirstRun:
        """Return the first run whose open verdict a second one is to decide: this one, or the one before it.

        Raises:
            ValueError: if there is none, or nothing that seeds would decide.
        """
        first = self.earlier
        if first is None and self.undecided and not self.quick:
            first = FirstRun(
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
